import assert from "node:assert/strict";
import { test } from "node:test";
import { afterClose, backoff } from "../rules.js";
import { Bench, tokenUntil } from "./helpers.js";

test("full jitter lies between a short pause and a doubling limit", () => {
  assert.equal(
    backoff(0, () => 0),
    100,
  );
  assert.deepEqual(
    [0, 1, 2, 9, 99].map((n) => backoff(n, () => 1)),
    [1e3, 2e3, 4e3, 3e4, 3e4],
  );
});

test("the table of close codes", () => {
  const after = (code, reason = "") => afterClose(code, reason, 0, () => 1);
  for (const code of [1002, 1003, 1007, 1009, 4001]) assert.ok(after(code).final, code);
  for (const code of [1000, 1006, 1011, 1013, 4002, 4004, 4005]) {
    assert.deepEqual(after(code), { wait: 1000, told: false, freshToken: false });
  }
  assert.deepEqual(after(4003), { wait: 1000, told: false, freshToken: true });
  assert.deepEqual(after(1001, "retry_after_ms=2973"), {
    wait: 2973,
    told: true,
    freshToken: false,
  });
  assert.equal(after(1001, "retry_after_ms=x").told, false);
});

test("a slot of a stopping server is kept to the ms, whatever wakes us", () => {
  const bench = new Bench();
  bench.connect();
  bench.core.closed(1001, "retry_after_ms=2973", bench.now);
  bench.core.wake(bench.now);
  bench.pass(2972);
  assert.equal(bench.core.state, "waiting");
  bench.pass(1);
  assert.equal(bench.core.state, "token");
});

test("attempts wait longer and longer, until a connection has lived", () => {
  const bench = new Bench({}, () => 1);
  const waits = [];
  bench.core.start(bench.now);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    bench.core.tokenIs("t", bench.now);
    bench.core.closed(1006, "", bench.now);
    waits.push(bench.core.deadline(bench.now) - bench.now);
    bench.pass(waits.at(-1));
  }
  assert.deepEqual(waits, [1000, 2000, 4000]);
  bench.connect();
  bench.pass(10_000);
  bench.core.closed(1006, "", bench.now);
  assert.equal(bench.core.deadline(bench.now) - bench.now, 1000);
});

test("a kicked client stays away until it is told to connect again", () => {
  const bench = new Bench();
  bench.connect();
  bench.core.closed(4001, "", bench.now);
  assert.equal(bench.core.state, "stopped");
  assert.equal(bench.core.deadline(bench.now), Infinity);
  bench.core.start(bench.now);
  assert.equal(bench.core.state, "token");
});

test("a close before the first frame: is the token taken? The next one is fresh", () => {
  const bench = new Bench();
  bench.core.start(bench.now);
  bench.core.tokenIs("t", bench.now);
  bench.effects();
  bench.core.closed(1006, "", bench.now);
  assert.deepEqual(bench.effects("probe"), [{ do: "probe", token: "t" }]);
  bench.pass(60_000);
  assert.deepEqual(bench.effects("token"), [{ do: "token", fresh: true }]);
});

test("a fixed token that is refused or has expired is the end", () => {
  for (const [end, reason] of [
    [(core, now) => core.closed(4003, "", now), "token_expired"],
    [(core, now) => (core.closed(1006, "", now), core.refused()), "unauthorized"],
  ]) {
    const bench = new Bench({ fixedToken: true });
    if (reason === "token_expired") bench.connect();
    else (bench.core.start(bench.now), bench.core.tokenIs("t", bench.now));
    bench.effects();
    end(bench.core, bench.now);
    assert.deepEqual(bench.events("state").at(-1).reason, reason);
  }
});

test("a token is renewed before it expires, on the same connection", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect(tokenUntil(bench.now + 600_000));
  bench.effects();
  bench.pass(530_000);
  assert.deepEqual(bench.effects("token"), []);
  bench.now += 10_000;
  bench.core.tick(bench.now);
  assert.deepEqual(bench.effects("token"), [{ do: "token", fresh: true }]);
  const fresh = tokenUntil(bench.now + 600_000);
  bench.core.tokenIs(fresh, bench.now);
  assert.deepEqual(bench.written(), [{ type: "token", data: { token: fresh } }]);
  bench.frame("token", { expiresAt: Math.floor(bench.now / 1000) + 600 });
  bench.frame("pong");
  assert.ok(bench.core.deadline(bench.now) - bench.now <= 540_000);
});

test("no answer to a ping ends the connection; any frame is an answer", () => {
  const bench = new Bench({ pingInterval: 1000, pongTimeout: 300 });
  bench.connect();
  bench.now += 1000;
  bench.core.tick(bench.now);
  bench.now += 299;
  bench.frame("online", { userId: 5 });
  bench.now += 200;
  bench.core.tick(bench.now);
  assert.equal(bench.core.state, "open");
  bench.now += 501;
  bench.core.tick(bench.now);
  bench.effects();
  bench.now += 300;
  bench.core.tick(bench.now);
  assert.equal(bench.core.state, "waiting");
  assert.equal(bench.effects("drop").length, 1);
});

test("a machine that slept asks again before it gives up", () => {
  const bench = new Bench({ pingInterval: 1000, pongTimeout: 300 });
  bench.connect();
  bench.now += 1000;
  bench.core.tick(bench.now);
  bench.now += 3_600_000;
  bench.core.tick(bench.now);
  assert.equal(bench.core.state, "open");
});

test("a handshake without an answer is given up", () => {
  const bench = new Bench();
  bench.core.start(bench.now);
  bench.core.tokenIs("t", bench.now);
  bench.now += 15_000;
  bench.core.tick(bench.now);
  assert.equal(bench.core.state, "waiting");
});

test("a network that comes back is tried at once", () => {
  const bench = new Bench();
  bench.connect();
  bench.core.closed(1006, "", bench.now);
  bench.core.wake(bench.now);
  assert.equal(bench.core.state, "token");
});

test("what is no frame, and what nobody knows, does no harm", () => {
  const bench = new Bench();
  bench.connect();
  bench.core.frame("{", bench.now);
  bench.core.frame('{"type":"error"}', bench.now);
  bench.frame("friend_request", { requestId: 1 });
  assert.deepEqual(bench.events("event"), [{ type: "friend_request", data: { requestId: 1 } }]);
});

test("a token that does not come is tried again", () => {
  const bench = new Bench();
  bench.core.start(bench.now);
  bench.core.tokenFailed(new Error("no"), bench.now);
  assert.equal(bench.core.state, "waiting");
  bench.pass(1000);
  assert.equal(bench.core.state, "token");
});

test("a server that cannot renew is not asked again", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect(tokenUntil(bench.now + 600_000));
  bench.frame("error", { code: 30013, message: "unknown type" });
  assert.equal(bench.core.deadline(bench.now), bench.now + 1e9);
});

test("a stop is the end of the connection, and of what waits", () => {
  const bench = new Bench();
  bench.connect();
  bench.send("a");
  bench.effects();
  bench.core.stop("closed");
  bench.core.stop("closed");
  bench.core.abandon("error");
  const effects = bench.effects();
  assert.deepEqual(
    effects.map((effect) => effect.do),
    ["drop", "emit", "settle"],
  );
  assert.equal(bench.core.snapshot().pending.length, 0);
});

test("other ends and refusals are told", () => {
  const bench = new Bench();
  bench.connect();
  bench.effects();
  bench.frame("kicked", { reason: "x" });
  bench.frame("error", { code: 30001, message: "x", msgId: "m" });
  bench.frame("read", { userId: 1002 });
  bench.frame("group_behind", { groupId: "new", seq: 3 });
  const effects = bench.effects();
  assert.deepEqual(
    effects.filter((effect) => effect.do === "emit").map(({ event }) => event),
    ["kicked", "error", "read"],
  );
  assert.deepEqual(
    effects.filter((effect) => effect.do === "sync"),
    [{ do: "sync", groupId: "new", seq: 2 }],
  );
});

test("a wrong clock of this machine changes nothing about when a token is renewed", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.wall = () => bench.now + 86_400_000;
  bench.connect(tokenUntil(bench.now + 600_000), { connectedAt: bench.now / 1000 });
  bench.effects();
  bench.pass(538_000);
  assert.deepEqual(bench.effects("token"), []);
  bench.pass(2_000);
  assert.deepEqual(bench.effects("token"), [{ do: "token", fresh: true }]);
});

test("an application that gives the same token again is not asked all the time", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  const expiresAt = bench.now + 100_000;
  bench.connect(tokenUntil(expiresAt));
  let asked = 0;
  while (bench.now < expiresAt) {
    bench.pass(100);
    asked += bench.effects("token").length;
    bench.frame("token", { expiresAt: expiresAt / 1000 });
  }
  assert.ok(asked < 15, String(asked));
});
