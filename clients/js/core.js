// What a client does, decided without sockets, timers or clocks: events go in, effects come out.
//
// Methods take the time in ms, of a clock that nobody sets. `take()` has the effects, in order:
//   {do: "token", fresh}         get a token, then call `tokenIs` or `tokenFailed`
//   {do: "open", query, token}   open a connection, then call `frame` and `closed`
//   {do: "write", text}          write a frame to it
//   {do: "drop"}                 forget the connection, without waiting for its end
//   {do: "probe", token}         find out whether the token is taken; if not, call `refused`
//   {do: "sync", groupId, seq}   ask for a group, then call `synced` or `syncFailed`
//   {do: "settle", msgId, error, result}   tell who sends a message how it went
//   {do: "emit", event, data}    tell the application
// and `deadline()` is when `tick` wants to be called next.

import { Groups } from "./groups.js";
import { Inbox, Recent } from "./inbox.js";
import { encode } from "./json.js";
import { Life } from "./life.js";
import { Marks } from "./marks.js";
import { Outbox } from "./outbox.js";
import { backoff } from "./rules.js";
import { decode } from "./shapes.js";
import { Talk } from "./talk.js";

const PULL_LIMIT = 100;
const UNKNOWN_TYPE = 30013;

export class Core {
  userId = null;
  #effects = [];
  #life;
  #outbox;
  #inbox;
  #groups;
  #talk = new Talk();
  #seen = new Recent();
  #marks = new Marks();

  constructor(
    {
      pingInterval = 25000,
      pongTimeout = 10000,
      queueLimit = 1000,
      fixedToken = false,
      state = {},
    } = {},
    random = Math.random,
    wall = Date.now,
  ) {
    state ??= {};
    this.#outbox = new Outbox(queueLimit, random);
    this.#inbox = new Inbox(this.#seen, state.resume);
    this.#groups = new Groups((failures) => backoff(failures, random));
    this.#life = new Life(
      { pingInterval, pongTimeout, fixedToken },
      {
        effect: (name, fields) => this.#effect(name, fields),
        ended: () => this.#ended(),
        random,
        wall,
      },
    );
    for (const [groupId, seq] of Object.entries(state.groups ?? {})) {
      this.#groups.follow(groupId, seq, state.groupIds?.[groupId]);
    }
    for (const { type, data } of state.pending ?? []) this.#keep(type, data);
  }

  get state() {
    return this.#life.state;
  }

  take() {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** What to pass as `state` to go on after a restart. */
  snapshot() {
    const { newestId } = this.#inbox;
    return {
      ...(newestId === undefined ? {} : { resume: newestId }),
      groups: this.#groups.positions(),
      groupIds: this.#groups.newestIds(),
      pending: this.#outbox.pending(),
    };
  }

  // The connection

  start(now) {
    this.#life.start(now);
  }

  stop(reason) {
    if (this.#life.open) this.#writeAcks(Infinity);
    this.#life.stop(reason);
  }

  wake(now) {
    this.#life.wake(now);
  }

  tokenIs(token, now) {
    const resume = this.#inbox.newestId;
    this.#life.tokenIs(token, { confirm: "ack", ...(resume === undefined ? {} : { resume }) }, now);
  }

  tokenFailed(error, now) {
    this.#life.tokenFailed(error, now);
  }

  refused() {
    this.#life.refused();
  }

  closed(code, reason, now) {
    this.#life.closed(code, reason, now);
  }

  /** Give up what was not sent; for the end of the client. */
  abandon(error) {
    for (const { data } of this.#outbox.clear()) {
      this.#effect("settle", { msgId: data.msgId, error });
    }
  }

  #ended() {
    this.#outbox.lost();
    this.#tell(this.#talk.lost());
  }

  #connected(data, now) {
    this.userId = data.userId;
    this.#life.connected(data, now);
    this.#inbox.connected(now);
    this.#groups.connected();
    this.#talk.presence.connected(now);
    this.#emit("connected", data);
    this.#writeMarks();
  }

  // What comes

  frame(text, now) {
    this.#life.heard();
    try {
      const { type, data } = decode(text);
      if (type === "connected" && this.state === "connecting") this.#connected(data, now);
      else if (this.#life.open) this.#dispatch(type, data, now);
    } catch {
      this.#emit("error", { code: 0, message: "the server has sent what is no frame" });
    }
    this.#flush(now);
  }

  #dispatch(type, data, now) {
    switch (type) {
      case "chat":
        this.#show(this.#inbox.take(data, now));
        break;
      case "group_chat":
        this.#showGroup(this.#groups.take(data.groupId, data.seq, data.id, data));
        break;
      case "group_behind":
        this.#groups.behind(data.groupId, data.seq);
        break;
      case "offline_messages":
        this.#inbox.window(data, now);
        break;
      case "ack":
        this.#ack(data, now);
        break;
      case "read":
        this.#emit("read", { userId: data.userId, msgIds: data.msgIds ?? null });
        break;
      case "token":
        this.#life.renewed(data.expiresAt * 1000, now);
        break;
      case "error":
        this.#error(data, now);
        break;
      case "pong":
        break;
      case "kicked":
        this.#emit("kicked", data);
        break;
      default:
        this.#tell(this.#talk.take(type, data, now) ?? [["event", { type, data }]]);
    }
  }

  #show(messages) {
    for (const message of messages) {
      this.#tell(this.#talk.wrote(message));
      this.#emit("message", message);
    }
  }

  #showGroup(messages) {
    this.#show(messages.filter(({ msgId }) => this.#seen.add(msgId)));
  }

  #ack(data, now) {
    const { msgId, status, id, seq, timestamp } = data;
    if (status === "delivered") this.#emit("delivered", { msgId });
    else if (status === "read") this.#emit("read", { userId: null, msgIds: [msgId] });
    const answer = this.#outbox.answered(data, now);
    if (!answer) return;
    const { entry, error } = answer;
    if (error) {
      this.#emit("failed", { msgId, reason: error.reason, code: error.code });
      this.#effect("settle", { msgId, error });
      return;
    }
    const result = { msgId, id, timestamp, ...(seq === undefined ? {} : { seq }) };
    this.#emit("sent", result);
    this.#effect("settle", { msgId, result });
    // Our own messages count as well; those of others may have waited for this one.
    if (seq !== undefined) this.#showGroup(this.#groups.take(entry.data.groupId, seq, id ?? 0));
  }

  #error(data, now) {
    if (this.#outbox.has(data.msgId)) return; // it is tried again
    if (this.#inbox.refused(data.code, now)) return;
    if (data.code === UNKNOWN_TYPE) this.#life.cannotRenew();
    this.#emit("error", { code: data.code, message: data.message, msgId: data.msgId });
  }

  // What goes

  /** Keep a message, and write it as soon as it may go; throws SkyeError when too many wait. */
  send(type, data, now) {
    this.#keep(type, data);
    this.#talk.typing.told(data.groupId ?? data.toUserId);
    this.#flush(now);
  }

  #keep(type, data) {
    this.#outbox.add(type, data);
    this.#seen.add(data.msgId);
  }

  /** Mark messages of a peer as read: all, if `msgIds` is null. */
  read(peerId, msgIds) {
    this.#marks.read(peerId, msgIds);
    this.#writeMarks();
  }

  readGroup(groupId, readSeq) {
    this.#marks.readGroup(groupId, readSeq);
    this.#writeMarks();
  }

  #writeMarks() {
    if (!this.#life.open) return;
    for (const { type, data } of this.#marks.take()) this.#write(type, data);
  }

  tellTyping(target, now) {
    const key = target.groupId ?? target.toUserId;
    if (this.#life.open && this.#talk.typing.mayTell(key, now)) this.#write("typing", target);
  }

  watch(userIds, now) {
    this.#talk.presence.watch(userIds, now);
    this.#flush(now);
  }

  online(userId) {
    return this.#talk.presence.of(userId);
  }

  follow(groupId, seq, now) {
    this.#groups.follow(groupId, seq);
    this.#flush(now);
  }

  synced(groupId, list, hasMore, now) {
    this.#showGroup(this.#groups.synced(groupId, list, hasMore, now));
    this.#flush(now);
  }

  /** A sync has failed; with `lost` for good: the user is no member, or there is no such group. */
  syncFailed(groupId, lost, now) {
    if (lost) {
      this.#groups.unfollow(groupId);
      this.#emit("group_lost", { groupId });
    } else {
      this.#groups.failed(groupId, now);
    }
    this.#flush(now);
  }

  // Time

  /** Return when `tick` is to be called next, in ms; Infinity for never. */
  deadline(now) {
    const always = Math.min(this.#life.deadline(), this.#talk.typing.deadline());
    if (!this.#life.open) return always;
    return Math.min(
      always,
      this.#outbox.deadline(now),
      this.#inbox.deadline(),
      this.#groups.deadline(),
      this.#talk.presence.deadline(),
    );
  }

  tick(now) {
    this.#life.tick(now);
    this.#tell(this.#talk.expired(now));
    this.#flush(now);
  }

  /** Do what is due: one thing may have made room for another. */
  #flush(now) {
    if (!this.#life.open) return;
    this.#show(this.#inbox.release(now));
    this.#writeAcks(now);
    if (this.#inbox.pullDue(now)) {
      // What has come is confirmed first: the server keeps only so many in the air.
      this.#writeAcks(Infinity);
      this.#write("offline_pull", { limit: PULL_LIMIT });
    }
    for (const userIds of this.#talk.presence.due(now)) this.#write("presence", { userIds });
    for (const { type, data } of this.#outbox.due(now)) this.#write(type, data);
    for (const { groupId, seq } of this.#groups.due(now)) this.#effect("sync", { groupId, seq });
  }

  #writeAcks(now) {
    for (const data of this.#inbox.acksDue(now)) this.#write("ack", data);
  }

  #write(type, data) {
    this.#effect("write", { text: encode(type, data) });
  }

  #tell(events) {
    for (const [event, data] of events) this.#emit(event, data);
  }

  #emit(event, data) {
    this.#effect("emit", { event, data });
  }

  #effect(name, fields = {}) {
    this.#effects.push({ do: name, ...fields });
  }
}
