// Group messages in the order of seq: gaps are noticed, and filled from the server's storage.

import { compareIds } from "./json.js";

const HELD = 1000; // messages of one group that wait for a gap to be filled
const AT_ONCE = 4; // groups that are being synced at a time
const ASK_AGAIN = 1000; // ms, when the storage itself has a gap

export class Groups {
  #groups = new Map(); // groupId -> state
  #pause;

  /** `pause(failures)` is how long to wait after a failed sync, in ms. */
  constructor(pause) {
    this.#pause = pause;
  }

  /** Keep up with a group from this seq on: everything above it is wanted. */
  follow(groupId, seq, id = 0) {
    if (!this.#groups.has(groupId)) {
      this.#groups.set(groupId, {
        groupId,
        seq,
        id, // of the newest that has come; 0 while none is known
        floor: 0, // what has come before the counter of the group was set back: up to this id
        anew: null, // the server has said that it counts anew behind this seq
        held: new Map(),
        wanted: true,
        asking: false,
        notBefore: 0,
        failures: 0,
        doubt: null,
      });
    }
  }

  unfollow(groupId) {
    this.#groups.delete(groupId);
  }

  /** Return `{groupId: seq}`: up to where everything of a group has come. */
  positions() {
    return Object.fromEntries([...this.#groups.values()].map(({ groupId, seq }) => [groupId, seq]));
  }

  /** Return `{groupId: id}`: the newest message that has come of a group, as far as known. */
  newestIds() {
    const known = [...this.#groups.values()].filter(({ id }) => id);
    return Object.fromEntries(known.map(({ groupId, id }) => [groupId, id]));
  }

  /** A connection begins: whatever was said meanwhile is missing. */
  connected() {
    for (const group of this.#groups.values()) group.wanted = true;
  }

  /** Take a live message, or seq and id of one of our own; return what to show, in order. */
  take(groupId, seq, id, message = null) {
    const group = this.#groups.get(groupId);
    if (!group) {
      // Nothing is known of the group: it begins with what comes first.
      this.follow(groupId, seq, id);
      this.#groups.get(groupId).wanted = false;
      return message ? [message] : [];
    }
    if (seq <= group.seq) {
      // A duplicate, or the counter of the group was set back.
      const newer = group.id !== 0 && compareIds(id, group.id) > 0;
      if (!newer && seq - 1 !== group.anew) return [];
      // With a database from a backup ids begin again as well; then nothing old is left there.
      if (!newer) group.id = 0;
      Object.assign(group, { seq: seq - 1, floor: group.id, anew: null });
      group.held.clear();
    } else if (id !== 0 && compareIds(id, group.floor) <= 0) return [];
    if (group.held.size < HELD) group.held.set(seq, message);
    const found = this.#advance(group);
    if (!message) group.id = later(group.id, id);
    if (group.held.size) group.wanted = true;
    return found;
  }

  /** Messages up to `seq` were left out; or, if more have come, it counts anew. */
  behind(groupId, seq) {
    const group = this.#groups.get(groupId);
    if (!group) this.follow(groupId, Math.max(0, seq - 1));
    else if (group.seq < seq) group.wanted = true;
    else group.anew = seq;
  }

  /** Return the groups to ask for now, as `{groupId, seq}`; each is asked for once at a time. */
  due(now) {
    const found = [];
    let room = this.#room();
    for (const group of this.#groups.values()) {
      if (room <= 0) break;
      if (!group.wanted || group.asking || now < group.notBefore) continue;
      group.wanted = false;
      group.asking = true;
      room -= 1;
      found.push({ groupId: group.groupId, seq: group.seq });
    }
    return found;
  }

  #room() {
    let room = AT_ONCE;
    for (const group of this.#groups.values()) if (group.asking) room -= 1;
    return room;
  }

  deadline() {
    let next = Infinity;
    if (this.#room() <= 0) return next; // an answer changes that
    for (const group of this.#groups.values()) {
      if (group.wanted && !group.asking) next = Math.min(next, group.notBefore);
    }
    return next;
  }

  /** Take what a sync has found, ascending; return the messages to show, in order. */
  synced(groupId, list, hasMore, now) {
    const group = this.#groups.get(groupId);
    if (!group) return [];
    group.asking = false;
    group.failures = 0;
    for (const message of list) {
      if (message.seq > group.seq && compareIds(message.id, group.floor) > 0) {
        group.held.set(message.seq, message);
      }
    }
    const found = this.#advance(group);
    // What a gap hides may be late by a moment. If it is not there a second later, it never was.
    while (group.held.size) {
      if (group.doubt !== group.seq) {
        group.doubt = group.seq;
        group.notBefore = now + ASK_AGAIN;
        group.wanted = true;
        return found;
      }
      group.seq = Math.min(...group.held.keys()) - 1;
      found.push(...this.#advance(group));
    }
    if (hasMore) {
      group.wanted = true;
      if (!found.length) group.notBefore = now + ASK_AGAIN; // or it is asked again and again
    }
    return found;
  }

  /** A sync has failed; it is tried again after a pause. */
  failed(groupId, now) {
    const group = this.#groups.get(groupId);
    if (!group) return;
    group.asking = false;
    group.wanted = true;
    group.notBefore = now + this.#pause(group.failures);
    group.failures += 1;
  }

  #advance(group) {
    const found = [];
    while (group.held.has(group.seq + 1)) {
      group.seq += 1;
      const message = group.held.get(group.seq);
      group.held.delete(group.seq);
      if (!message) continue;
      group.id = later(group.id, message.id);
      found.push(message);
    }
    for (const seq of group.held.keys()) if (seq <= group.seq) group.held.delete(seq);
    return found;
  }
}

function later(one, other) {
  return compareIds(one, other) > 0 ? one : other;
}
