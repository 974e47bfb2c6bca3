// What a frame must have before anything is done with it: no server is believed blindly.

import { parse } from "./json.js";

const DIGITS = /^\d{1,19}$/;

const text = (value) => typeof value === "string";
const id = (value) => Number.isSafeInteger(value) || (text(value) && DIGITS.test(value));
const count = (value) => Number.isSafeInteger(value) && value >= 0;

const optional = (is) => (value) => value === undefined || is(value);

const MESSAGE = { id, msgId: text, fromUserId: id, content: text };
const SHAPES = {
  connected: { userId: id },
  chat: MESSAGE,
  group_chat: { ...MESSAGE, groupId: text, seq: count },
  group_behind: { groupId: text, seq: count },
  offline_messages: { pushCount: count, hasMore: (value) => typeof value === "boolean" },
  ack: { msgId: text, status: text, id: optional(id), seq: optional(count) },
  read: { userId: id },
  token: { expiresAt: Number.isFinite },
  typing: { fromUserId: id },
  presence: { online: Array.isArray },
  online: { userId: id },
  offline: { userId: id },
};

/** Tell whether `data` has what a frame of this type must have; other types may have anything. */
export function isWhole(type, data) {
  if (!text(type) || typeof data !== "object" || data === null) return false;
  return Object.entries(SHAPES[type] ?? {}).every(([name, is]) => is(data[name]));
}

/** Return `{type, data}` of the text of a frame; throws what is no frame. */
export function decode(text) {
  const { type, data } = parse(text);
  if (!isWhole(type, data ?? {})) throw new TypeError("a field is missing");
  return { type, data: data ?? {} };
}
