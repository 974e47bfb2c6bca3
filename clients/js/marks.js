// Read marks: what was read while there was no connection is told on the next one.

const MSG_IDS = 1000; // in one frame, for one peer

export class Marks {
  #peers = new Map(); // peerId -> [msgIds], or null for all
  #groups = new Map(); // groupId -> seq

  /** Mark messages of a peer: those named, or all for null. */
  read(peerId, msgIds) {
    const before = this.#peers.has(peerId) ? this.#peers.get(peerId) : [];
    const all = msgIds === null || before === null;
    this.#peers.set(peerId, all ? null : [...before, ...msgIds].slice(-MSG_IDS));
  }

  readGroup(groupId, seq) {
    this.#groups.set(groupId, Math.max(seq, this.#groups.get(groupId) ?? 0));
  }

  /** Return the frames to write, and keep none. */
  take() {
    const frames = [];
    for (const [peerId, msgIds] of this.#peers) {
      frames.push({ type: "read", data: { peerId, msgIds: msgIds ?? undefined } });
    }
    for (const [groupId, readSeq] of this.#groups) {
      frames.push({ type: "group_read", data: { groupId, readSeq } });
    }
    this.#peers.clear();
    this.#groups.clear();
    return frames;
  }
}
