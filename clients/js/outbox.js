// Messages that have no `sent` yet: kept in order, written again until they have one.
//
// Of each conversation one message at a time is on its way. So a message that is refused for the
// moment (busy, rate_limited, rpc_error) is never overtaken by the one behind it.

import { SkyeError, TRY_AGAIN, backoff } from "./rules.js";

const ANSWER_DEADLINE = 15000; // ms without an answer, then it is written again
const IN_FLIGHT = 32; // conversations that are being written to at a time

export class Outbox {
  #entries = new Map(); // msgId -> entry, in the order of sending
  #conversations = new Map(); // conversation -> [entry, ...], the first one may be on its way
  #limit;
  #random;
  #pausedUntil = 0;

  constructor(limit, random) {
    this.#limit = limit;
    this.#random = random;
  }

  has(msgId) {
    return this.#entries.has(msgId);
  }

  /** Return what is kept as plain objects, to be given to `add` after a restart. */
  pending() {
    return [...this.#entries.values()].map(({ type, data }) => ({ type, data }));
  }

  /** Keep a message until it is answered for good; throws SkyeError when it is full. */
  add(type, data) {
    if (this.#entries.has(data.msgId)) throw new SkyeError("invalid", "msgId: it is being sent");
    if (this.#entries.size >= this.#limit) {
      throw new SkyeError("queue_full", `more than ${this.#limit} messages wait to be sent`);
    }
    const conversation = type === "chat" ? `u${data.toUserId}` : `g${data.groupId}`;
    const entry = { type, data, conversation, writtenAt: null, notBefore: 0, failures: 0 };
    this.#entries.set(data.msgId, entry);
    const line = this.#conversations.get(conversation);
    if (line) line.push(entry);
    else this.#conversations.set(conversation, [entry]);
  }

  /** Return the messages to write now, and note that they are on their way. */
  due(now) {
    if (now < this.#pausedUntil) return [];
    const found = [];
    let room = this.#room(now);
    for (const [entry] of this.#conversations.values()) {
      if (room <= 0) break;
      if (this.#waits(entry, now) || now < entry.notBefore) continue;
      entry.writtenAt = now;
      found.push(entry);
      room -= 1;
    }
    return found;
  }

  #room(now) {
    let room = IN_FLIGHT;
    for (const [entry] of this.#conversations.values()) if (this.#waits(entry, now)) room -= 1;
    return room;
  }

  #waits(entry, now) {
    return entry.writtenAt !== null && now < entry.writtenAt + ANSWER_DEADLINE;
  }

  /** Return when `due` has something next, in ms; Infinity if only an answer can change that. */
  deadline(now) {
    const full = this.#room(now) <= 0;
    let next = Infinity;
    for (const [entry] of this.#conversations.values()) {
      if (entry.writtenAt !== null) next = Math.min(next, entry.writtenAt + ANSWER_DEADLINE);
      else if (!full) next = Math.min(next, entry.notBefore);
    }
    return Math.max(next, this.#pausedUntil);
  }

  /** The connection is gone: everything is to be written again on the next one. */
  lost() {
    this.#pausedUntil = 0;
    for (const entry of this.#entries.values()) entry.writtenAt = null;
  }

  /** Take an ack; return `{entry, error}` when it is the last word about a message of ours. */
  answered({ msgId, status, reason }, now) {
    const entry = this.#entries.get(msgId);
    if (!entry) return null;
    if (status === "failed" && TRY_AGAIN.has(reason)) {
      const pause = backoff(entry.failures, this.#random);
      entry.failures += 1;
      entry.writtenAt = null;
      entry.notBefore = now + pause;
      // The limit is of the whole connection, not of this message.
      if (reason === "rate_limited") this.#pausedUntil = now + pause;
      return null;
    }
    if (status !== "sent" && status !== "failed") return null;
    this.#remove(entry);
    return { entry, error: status === "failed" ? new SkyeError(reason ?? "invalid") : null };
  }

  /** Give every message up; return them. */
  clear() {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    this.#conversations.clear();
    return entries;
  }

  #remove(entry) {
    this.#entries.delete(entry.data.msgId);
    const line = this.#conversations.get(entry.conversation);
    line.splice(line.indexOf(entry), 1);
    if (!line.length) this.#conversations.delete(entry.conversation);
  }
}
