import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, chat } from "./helpers.js";

test("typing is told each 3 s at most, and at once after a message", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect();
  const type = () => bench.core.tellTyping({ toUserId: 1002 }, bench.now);
  type();
  bench.now += 2999;
  type();
  assert.deepEqual(bench.written(), [{ type: "typing", data: { toUserId: 1002 } }]);
  bench.now += 1;
  type();
  assert.equal(bench.written().length, 1);
  bench.send("a");
  bench.written();
  type();
  assert.equal(bench.written().length, 1);
});

test("typing is shown for 6 s, or until the message", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect();
  bench.effects();
  bench.frame("typing", { fromUserId: 1002 });
  bench.frame("typing", { fromUserId: 1003, groupId: "g" });
  bench.frame("typing", { fromUserId: 1002 });
  assert.equal(bench.events("typing").length, 2);
  bench.frame("chat", chat(1));
  assert.deepEqual(bench.events("typing"), [{ userId: 1002, groupId: undefined, active: false }]);
  bench.pass(6000);
  assert.deepEqual(bench.events("typing"), [{ userId: 1003, groupId: "g", active: false }]);
});

test("presence is asked for, follows notices, and is unknown without a connection", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.core.watch([1002, 1003], bench.now);
  bench.connect();
  bench.core.watch([1002], bench.now);
  bench.frame("presence", { online: [1003] });
  assert.deepEqual(
    [1002, 1003].map((id) => bench.core.online(id)),
    [false, true],
  );
  bench.effects();
  bench.frame("online", { userId: 1002 });
  bench.frame("online", { userId: 1002 });
  assert.deepEqual(bench.events("presence"), [{ userId: 1002, online: true }]);
  bench.core.closed(1006, "", bench.now);
  assert.equal(bench.core.online(1002), null);
});

test("many users are asked for in frames of 200, again each minute", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect();
  bench.core.watch(
    Array.from({ length: 450 }, (_, index) => index + 1),
    bench.now,
  );
  const sizes = () => bench.written().map(({ data }) => data.userIds.length);
  assert.deepEqual(sizes(), [200, 200, 50]);
  bench.pass(60_000);
  assert.deepEqual(sizes(), [200, 200, 50]);
});
