// What the page knows: conversations and their messages, each once and in order.

import { compareIds } from "./skyeim/skyeim.js";

const RANK = { pending: 0, failed: 0, sent: 1, delivered: 2, read: 3 };
const STORED_STATUS = ["sent", "read", "recalled"];

export const privateKey = (userId) => `u${userId}`;
export const groupKey = (groupId) => `g${groupId}`;

export class Conversation {
  messages = []; // ascending; what is not sent yet stands at the end
  unread = 0;
  loaded = false; // its newest page is here
  stale = false; // something may have come by another way since
  hasOlder = true;
  from = null; // the oldest id of the pages that are here: nothing is missing from it on
  counted; // the newest id that `unread` as the server told it may include
  members = [];
  firstUnread = null; // msgId, where the line "New" stands
  #byId = new Map();

  constructor(key, id, isGroup) {
    this.key = key;
    this.id = id;
    this.isGroup = isGroup;
  }

  get last() {
    return this.messages[this.messages.length - 1];
  }

  /** What can be shown: messages without a gap between them, and what is not sent yet. */
  get shown() {
    const { from } = this;
    return this.messages.filter(
      ({ id }) => id === undefined || (from !== null && compareIds(id, from) >= 0),
    );
  }

  get newestSeq() {
    return this.messages.reduce((newest, { seq = 0 }) => Math.max(newest, seq), 0);
  }

  has(msgId) {
    return this.#byId.has(msgId);
  }

  get(msgId) {
    return this.#byId.get(msgId);
  }

  /** Add a message, or what is new about one that is here; returns whether it was added. */
  put(message) {
    const known = this.#byId.get(message.msgId);
    if (known) {
      const { status = known.status, ...rest } = message;
      const moved = known.id === undefined && message.id !== undefined;
      Object.assign(known, rest);
      if (RANK[status] >= RANK[known.status] || known.status === "failed") known.status = status;
      if (moved) {
        this.messages.splice(this.messages.indexOf(known), 1);
        this.#insert(known);
      }
      return false;
    }
    this.#byId.set(message.msgId, message);
    this.#insert(message);
    return true;
  }

  remove(msgId) {
    const message = this.#byId.get(msgId);
    this.#byId.delete(msgId);
    if (message) this.messages.splice(this.messages.indexOf(message), 1);
  }

  /** Note how far messages of ours have come: those named, or all that were sent. */
  mark(status, msgIds) {
    const marked = msgIds ? msgIds.map((msgId) => this.#byId.get(msgId)) : this.messages;
    for (const message of marked) {
      const sent = message?.id !== undefined;
      if (sent && message.own && RANK[message.status] < RANK[status]) message.status = status;
    }
  }

  /** Take a page of the history, newest first. What is here stays only if the two overlap. */
  page({ list, hasMore }, ownId, older) {
    const messages = list.map((message) => fromStorage(message, ownId));
    const overlaps = messages.some(({ msgId }) => this.#byId.has(msgId));
    if (!older && this.loaded && list.length && !overlaps) this.#keepUnsent();
    if (this.from === null || older) {
      this.hasOlder = hasMore && messages.length > 0;
      this.from = this.hasOlder ? messages[messages.length - 1].id : 0;
    }
    for (const message of messages) this.put(message);
    this.loaded = true;
  }

  /** Count a message that came, unless the server has counted it. */
  count({ id, own }) {
    if (own || (this.counted !== undefined && compareIds(id, this.counted) <= 0)) return;
    this.unread += 1;
  }

  #keepUnsent() {
    this.from = null;
    this.messages = this.messages.filter(({ id }) => id === undefined);
    this.#byId = new Map(this.messages.map((message) => [message.msgId, message]));
  }

  #insert(message) {
    let at = this.messages.length;
    while (at > 0 && isBefore(message, this.messages[at - 1])) at -= 1;
    this.messages.splice(at, 0, message);
  }
}

function isBefore(one, other) {
  if (one.id === undefined) return false;
  if (other.id === undefined) return true;
  if (one.seq && other.seq) return one.seq < other.seq;
  return compareIds(one.id, other.id) < 0;
}

/** A message of the history as the page keeps it. */
export function fromStorage(message, ownId) {
  const own = message.fromUserId === ownId;
  return { ...message, own, status: own ? (STORED_STATUS[message.status] ?? "sent") : undefined };
}

export class Store {
  conversations = new Map();
  names = new Map(); // userId -> name
  groupNames = new Map();

  constructor(ownId) {
    this.ownId = ownId;
  }

  nameOf(userId) {
    return this.names.get(userId) ?? `User ${userId}`;
  }

  /** Return the name of a conversation. */
  titleOf({ id, isGroup }) {
    return isGroup ? (this.groupNames.get(id) ?? id) : this.nameOf(id);
  }

  private(userId) {
    return this.#conversation(privateKey(userId), userId, false);
  }

  group(groupId) {
    return this.#conversation(groupKey(groupId), groupId, true);
  }

  /** Return the conversation that a message is part of. */
  of({ groupId, fromUserId, toUserId }) {
    if (groupId) return this.group(groupId);
    return this.private(fromUserId === this.ownId ? toUserId : fromUserId);
  }

  /** Return the conversation in which a message of ours is, if it is here. */
  withMessage(msgId) {
    return [...this.conversations.values()].find((conversation) => conversation.has(msgId));
  }

  /** All conversations, that with the newest message first. */
  sorted() {
    const time = ({ last }) => last?.createdAt ?? 0;
    return [...this.conversations.values()].sort(
      (one, other) =>
        time(other) - time(one) || this.titleOf(one).localeCompare(this.titleOf(other)),
    );
  }

  #conversation(key, id, isGroup) {
    if (!this.conversations.has(key)) {
      this.conversations.set(key, new Conversation(key, id, isGroup));
    }
    return this.conversations.get(key);
  }
}
