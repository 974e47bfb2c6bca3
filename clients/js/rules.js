// The tables of the protocol: what a close code and a refusal ask of a client; backoff; limits.

export const FRAME_IDS = 200; // ids in one `ack` or `presence`
export const MAX_CONTENT = 16384; // characters
export const MSG_ID = /^[A-Za-z0-9_.:-]{1,64}$/;

const BACKOFF_BASE = 1000;
const BACKOFF_CAP = 30000;
const SHORTEST_PAUSE = 100;

/** Reasons of a `failed` that a retry with the same msgId may cure. */
export const TRY_AGAIN = new Set(["busy", "rate_limited", "rpc_error"]);

export const REASON_CODES = {
  invalid: 30001,
  not_friend: 30004,
  blocked: 30004,
  group_not_found: 30005,
  not_member: 30006,
  muted: 30007,
  at_all_denied: 30008,
  rate_limited: 30009,
  busy: 30010,
  rpc_error: 30011,
  msg_id_conflict: 30012,
};

/** Close codes after which a client must not come back by itself, and why. */
const FINAL = {
  1002: "protocol_error",
  1003: "protocol_error",
  1007: "protocol_error",
  1009: "message_too_large",
  4001: "kicked",
};

const FRESH_TOKEN = 4003;

/** A random pause before attempt `attempt` (0 for the first), in ms: full jitter. */
export function backoff(attempt, random) {
  const longest = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** Math.min(attempt, 10));
  return Math.max(SHORTEST_PAUSE, random() * longest);
}

/**
 * Say what follows a close: `{final}` names why it is for good; else `{wait}` is the pause in ms
 * and `freshToken` whether the token must be a new one.
 */
export function afterClose(code, reason, attempt, random) {
  if (FINAL[code]) return { final: FINAL[code] };
  const told = code === 1001 && /^retry_after_ms=(\d{1,7})$/.exec(reason);
  return {
    wait: told ? Number(told[1]) : backoff(attempt, random),
    told: Boolean(told),
    freshToken: code === FRESH_TOKEN,
  };
}

/** Something that was refused or has failed: `reason` is a constant, `code` one of the protocol. */
export class SkyeError extends Error {
  constructor(reason, message = reason, code = REASON_CODES[reason] ?? 0) {
    super(message);
    this.name = "SkyeError";
    this.reason = reason;
    this.code = code;
  }
}

/** Return when a token expires, in ms since 1970; Infinity if it does not say. */
export function expiryOf(token) {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const { exp } = JSON.parse(atob(part));
    return typeof exp === "number" ? exp * 1000 : Infinity;
  } catch {
    return Infinity;
  }
}
