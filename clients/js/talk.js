// Who is online and who is typing: small talk that is never stored, and may be lost.

import { FRAME_IDS } from "./rules.js";

const TYPING_EVERY = 3000; // ms between two notices that we send
const TYPING_SHOWN = 6000; // ms that a notice of somebody else is shown
const ASK_EVERY = 60000; // ms; a lost `online` or `offline` is made good by then

/** Typing, both ways. */
export class Typing {
  #sent = new Map(); // target -> when
  #shown = new Map(); // "user group" -> {notice, until}

  /** Return whether a notice to this target is due. */
  mayTell(target, now) {
    if (now < (this.#sent.get(target) ?? -Infinity) + TYPING_EVERY) return false;
    this.#sent.delete(target);
    this.#sent.set(target, now);
    if (this.#sent.size > 1000) this.#sent.delete(this.#sent.keys().next().value);
    return true;
  }

  /** We have sent a message: the next notice need not wait. */
  told(target) {
    this.#sent.delete(target);
  }

  /** Somebody types; return what to tell. */
  noticed(userId, groupId, now) {
    const key = `${userId} ${groupId ?? ""}`;
    const known = this.#shown.has(key);
    this.#shown.set(key, { userId, groupId, until: now + TYPING_SHOWN });
    return known ? [] : [{ userId, groupId, active: true }];
  }

  /** Somebody has sent what was being typed; return what to tell. */
  ended(userId, groupId) {
    const gone = this.#shown.delete(`${userId} ${groupId ?? ""}`);
    return gone ? [{ userId, groupId, active: false }] : [];
  }

  /** Return who has stopped without a word. */
  expired(now) {
    const found = [];
    for (const { userId, groupId, until } of [...this.#shown.values()]) {
      if (until <= now) found.push(...this.ended(userId, groupId));
    }
    return found;
  }

  deadline() {
    return Math.min(Infinity, ...[...this.#shown.values()].map(({ until }) => until));
  }
}

/** Presence of the users who are watched; unknown while there is no connection. */
export class Presence {
  #online = new Map(); // userId -> true, false, or null for unknown
  #asked = []; // chunks of userIds whose answer is to come, in order
  #askAt = Infinity;

  of(userId) {
    return this.#online.get(userId) ?? null;
  }

  watch(userIds, now) {
    for (const userId of userIds) if (!this.#online.has(userId)) this.#online.set(userId, null);
    this.#askAt = now;
  }

  connected(now) {
    this.#asked = [];
    this.#askAt = now;
  }

  /** Nothing is known any more; return what to tell. */
  lost() {
    this.#asked = [];
    this.#askAt = Infinity;
    return [...this.#online.keys()].flatMap((userId) => this.set(userId, null));
  }

  /** Return the `userIds` of the questions to write now. */
  due(now) {
    if (now < this.#askAt) return [];
    const all = [...this.#online.keys()];
    this.#askAt = all.length ? now + ASK_EVERY : Infinity;
    const chunks = [];
    for (let at = 0; at < all.length; at += FRAME_IDS) chunks.push(all.slice(at, at + FRAME_IDS));
    this.#asked.push(...chunks);
    return chunks;
  }

  /** Take the answer to the oldest question; return what has changed. */
  answered(online) {
    const here = new Set(online);
    return (this.#asked.shift() ?? online).flatMap((userId) => this.set(userId, here.has(userId)));
  }

  set(userId, online) {
    if (this.#online.get(userId) === online) return [];
    this.#online.set(userId, online);
    return [{ userId, online }];
  }

  deadline() {
    return this.#askAt;
  }
}

/** Both together, as `[event, data]` to tell the application. */
export class Talk {
  typing = new Typing();
  presence = new Presence();

  /** Take a frame of either kind; returns null for any other. */
  take(type, data, now) {
    switch (type) {
      case "typing":
        return told("typing", this.typing.noticed(data.fromUserId, data.groupId, now));
      case "online":
      case "offline":
        return told("presence", this.presence.set(data.userId, type === "online"));
      case "presence":
        return told("presence", this.presence.answered(data.online ?? []));
      default:
        return null;
    }
  }

  /** Somebody has written: the typing has ended. */
  wrote({ fromUserId, groupId }) {
    return told("typing", this.typing.ended(fromUserId, groupId));
  }

  expired(now) {
    return told("typing", this.typing.expired(now));
  }

  /** There is no connection any more. */
  lost() {
    return [...told("presence", this.presence.lost()), ...this.expired(Infinity)];
  }
}

function told(event, changes) {
  return changes.map((data) => [event, data]);
}
