// Private messages that came: each is shown once, in the order of ids, and confirmed in batches.

import { compareIds } from "./json.js";
import { FRAME_IDS, REASON_CODES } from "./rules.js";

const REMEMBERED = 20000; // msgIds
const ACK_DELAY = 20; // ms that a confirmation waits for others
const NOTHING_CAME = 1000; // ms until the next pull, if a window that is not the last was empty
const HOLD_LONGEST = 30000; // ms that messages wait for older ones
const PULL_AGAIN = { [REASON_CODES.busy]: 1000, [REASON_CODES.rpc_error]: 10000 }; // ms

/** A set that forgets its oldest members. */
export class Recent {
  #members = new Set();
  #limit;

  constructor(limit = REMEMBERED) {
    this.#limit = limit;
  }

  /** Add a member; return whether it is new. */
  add(member) {
    if (this.#members.has(member)) return false;
    this.#members.add(member);
    if (this.#members.size > this.#limit) this.#members.delete(this.#members.values().next().value);
    return true;
  }
}

export class Inbox {
  #seen;
  #held = null; // messages that wait for older ones, while these are being pulled
  #heldSince = 0;
  #toCome = 0; // messages of the window that is being pushed
  #pulling = false;
  #pullAt = Infinity;
  #acks = [];
  #acksAt = Infinity;

  constructor(seen, newestId) {
    this.#seen = seen;
    this.newestId = newestId;
  }

  /** A connection begins. What is held stays so until a pull has ended. */
  connected(now) {
    this.#pulling = false;
    this.#toCome = 0;
    this.#pullAt = Infinity;
    // With `resume` only newer messages come by themselves.
    if (this.newestId !== undefined) this.#pull(now);
  }

  /** Take `offline_messages`: its window follows, and perhaps more must be asked for. */
  window({ pushCount, hasMore }, now) {
    this.#pulling = false;
    this.#toCome = pushCount;
    if (hasMore) this.#pull(pushCount ? now : now + NOTHING_CAME);
  }

  /** Take an error; return whether it was about a pull, which is then asked for again. */
  refused(code, now) {
    if (!this.#pulling || !(code in PULL_AGAIN)) return false;
    this.#pullAt = now + PULL_AGAIN[code];
    // What is held waits for a pull that came too early, not for a service that is away.
    this.#pulling = code === REASON_CODES.busy;
    return true;
  }

  /** Return whether to ask for older messages now. */
  pullDue(now) {
    if (now < this.#pullAt) return false;
    this.#pull(now);
    this.#pullAt = Infinity;
    return true;
  }

  #pull(now) {
    this.#pullAt = now;
    this.#pulling = true;
    if (this.#held) return;
    this.#held = [];
    this.#heldSince = now;
  }

  /** Take a private message; return those to show now, in order. */
  take(message, now) {
    this.#confirm(message.msgId, now);
    if (this.newestId === undefined || compareIds(message.id, this.newestId) > 0) {
      this.newestId = message.id;
    }
    const fresh = this.#seen.add(message.msgId);
    if (!this.#held) return fresh ? [message] : [];
    if (fresh) this.#held.push(message);
    if (this.#toCome > 0) this.#toCome -= 1;
    return this.release(now);
  }

  /** Return what was held, sorted, once nothing older is on its way (or takes too long). */
  release(now) {
    if (!this.#held) return [];
    const complete = !this.#pulling && this.#toCome === 0;
    if (!complete && now < this.#heldSince + HOLD_LONGEST) return [];
    const messages = this.#held.sort((one, other) => compareIds(one.id, other.id));
    this.#held = null;
    return messages;
  }

  /** Confirm a message, a bit later, together with others. */
  #confirm(msgId, now) {
    this.#acks.push(msgId);
    if (this.#acksAt === Infinity) this.#acksAt = now + ACK_DELAY;
  }

  /** Return the `data` of the acks to write now. */
  acksDue(now) {
    if (now < this.#acksAt && this.#acks.length < FRAME_IDS) return [];
    const frames = [];
    while (this.#acks.length) {
      const msgIds = this.#acks.splice(0, FRAME_IDS);
      const named = msgIds.length === 1 ? { msgId: msgIds[0] } : { msgIds };
      frames.push({ ...named, status: "delivered" });
    }
    this.#acksAt = Infinity;
    return frames;
  }

  deadline() {
    return Math.min(
      this.#acksAt,
      this.#pullAt,
      this.#held ? this.#heldSince + HOLD_LONGEST : Infinity,
    );
  }
}
