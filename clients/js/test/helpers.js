// A core that a test drives by hand: frames in, effects out, the clock in its hands.

import assert from "node:assert/strict";
import { Core } from "../core.js";

export class Bench {
  now = 1_000_000;
  wall = () => this.now;

  constructor(options = {}, random = () => 0.5) {
    this.core = new Core(options, random, () => this.wall());
  }

  /** Return the effects since the last call, all or those of one kind. */
  effects(kind) {
    const effects = this.core.take();
    return kind ? effects.filter((effect) => effect.do === kind) : effects;
  }

  /** Return what was written since the last call, decoded; pings are left out. */
  written() {
    const frames = this.effects("write").map(({ text }) => JSON.parse(text));
    return frames.filter(({ type }) => type !== "ping");
  }

  /** Return the data of the events of one name since the last call. */
  events(name) {
    return this.effects("emit")
      .filter(({ event }) => event === name)
      .map(({ data }) => data);
  }

  frame(type, data = {}) {
    this.core.frame(JSON.stringify({ type, data }), this.now);
  }

  /** Let time pass, with a tick at every deadline on the way. */
  pass(ms) {
    const end = this.now + ms;
    for (let deadline; (deadline = this.core.deadline(this.now)) <= end;) {
      this.now = Math.max(this.now, deadline);
      this.core.tick(this.now);
    }
    this.now = end;
  }

  connect(token = "t", more = {}) {
    if (this.core.state === "idle") this.core.start(this.now);
    assert.equal(this.core.state, "token");
    this.core.tokenIs(token, this.now);
    const [{ query }] = this.effects("open");
    this.frame("connected", { userId: 1001, ...more });
    assert.equal(this.core.state, "open");
    return query;
  }

  reconnect() {
    this.core.closed(1006, "", this.now);
    this.pass(60_000);
    return this.connect();
  }

  send(msgId, toUserId = 1002) {
    this.core.send("chat", { toUserId, content: "hello", contentType: 1, msgId }, this.now);
  }

  ack(msgId, status = "sent", more = {}) {
    this.frame("ack", { msgId, status, timestamp: 1, ...more });
  }
}

export function chat(id, fromUserId = 1002) {
  return { id, msgId: `m${id}`, fromUserId, toUserId: 1001, content: "x", contentType: 1 };
}

export function groupChat(seq, groupId = "g") {
  return { id: 100 + seq, msgId: `g${seq}`, fromUserId: 1002, groupId, seq, content: "x" };
}

/** Return a token that expires at `expiresAt`, in ms. */
export function tokenUntil(expiresAt) {
  const payload = Buffer.from(JSON.stringify({ exp: Math.floor(expiresAt / 1000) }));
  return `h.${payload.toString("base64url")}.s`;
}
