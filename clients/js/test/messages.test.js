import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, chat, groupChat } from "./helpers.js";

const ids = (frames) => frames.filter(({ type }) => type === "chat").map(({ data }) => data.msgId);

test("of a conversation one message at a time is on its way, in order", () => {
  const bench = new Bench();
  bench.connect();
  for (const msgId of ["a", "b", "c"]) bench.send(msgId);
  bench.send("x", 1003);
  assert.deepEqual(ids(bench.written()), ["a", "x"]);
  bench.ack("a", "sent", { id: 1 });
  const effects = bench.effects();
  assert.deepEqual(
    effects.find((effect) => effect.do === "settle"),
    {
      do: "settle",
      msgId: "a",
      result: { msgId: "a", id: 1, timestamp: 1 },
    },
  );
  assert.ok(effects.some((effect) => effect.do === "write" && effect.text.includes('"b"')));
});

test("what is refused for the moment is not overtaken, and comes again under its msgId", () => {
  for (const reason of ["busy", "rate_limited", "rpc_error"]) {
    const bench = new Bench();
    bench.connect();
    bench.send("a");
    bench.send("b");
    bench.written();
    bench.ack("a", "failed", { reason });
    bench.frame("error", { code: 30010, message: "x", msgId: "a" });
    const before = bench.effects();
    assert.deepEqual(
      before.filter((effect) => effect.do !== "write"),
      [],
    );
    bench.pass(1000);
    assert.deepEqual(ids(bench.written()), ["a"]);
    bench.ack("a", "sent", { id: 1 });
    assert.deepEqual(ids(bench.written()), ["b"]);
  }
});

test("a refusal for good is told, and the next message goes", () => {
  const bench = new Bench();
  bench.connect();
  bench.send("a");
  bench.send("b");
  bench.written();
  bench.ack("a", "failed", { reason: "not_friend" });
  const effects = bench.effects();
  const { error } = effects.find((effect) => effect.do === "settle");
  assert.deepEqual([error.reason, error.code], ["not_friend", 30004]);
  assert.ok(effects.some((effect) => effect.do === "write" && effect.text.includes('"b"')));
});

test("without an answer a message is written again, later and after a reconnect", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect();
  bench.send("a");
  bench.written();
  bench.pass(15_000);
  assert.deepEqual(ids(bench.written()), ["a"]);
  bench.core.closed(1006, "", bench.now);
  bench.send("b");
  bench.pass(60_000);
  bench.core.tokenIs("t", bench.now);
  bench.effects();
  bench.frame("connected", { userId: 1001 });
  assert.deepEqual(ids(bench.written()), ["a"]);
});

test("a full queue says so", () => {
  const bench = new Bench({ queueLimit: 1 });
  bench.send("a");
  assert.throws(() => bench.send("b"), { reason: "queue_full" });
});

test("messages come once, and are confirmed together", () => {
  const bench = new Bench();
  bench.connect();
  bench.effects();
  for (const id of [1, 2, 2, 1]) bench.frame("chat", chat(id));
  assert.deepEqual(
    bench.events("message").map(({ id }) => id),
    [1, 2],
  );
  bench.pass(20);
  const [{ type, data }] = bench.written();
  assert.deepEqual(
    [type, data],
    ["ack", { msgIds: ["m1", "m2", "m2", "m1"], status: "delivered" }],
  );
});

test("what has come is confirmed before a stop", () => {
  const bench = new Bench();
  bench.connect();
  bench.frame("chat", chat(1));
  bench.effects();
  bench.core.stop("closed");
  assert.deepEqual(bench.written(), [{ type: "ack", data: { msgId: "m1", status: "delivered" } }]);
});

test("older windows are pulled, and everything is shown in the order of ids", () => {
  const bench = new Bench();
  assert.deepEqual(bench.connect(), { confirm: "ack" });
  bench.effects();
  const window = { messageType: "private", totalCount: 4 };
  bench.frame("offline_messages", { ...window, pushCount: 2, hasMore: true, remainCount: 2 });
  assert.deepEqual(bench.written().at(-1), { type: "offline_pull", data: { limit: 100 } });
  bench.frame("chat", chat(3));
  bench.frame("chat", chat(4));
  bench.frame("chat", chat(5));
  assert.deepEqual(bench.events("message"), []);
  bench.frame("offline_messages", { ...window, pushCount: 2, hasMore: false, remainCount: 0 });
  bench.frame("chat", chat(1));
  bench.frame("chat", chat(2));
  assert.deepEqual(
    bench.events("message").map(({ id }) => id),
    [1, 2, 3, 4, 5],
  );
  bench.frame("chat", chat(6));
  assert.deepEqual(
    bench.events("message").map(({ id }) => id),
    [6],
  );
});

test("a refused pull is asked again; what waits for it does not wait for ever", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect();
  bench.frame("offline_messages", { pushCount: 1, hasMore: true });
  bench.frame("chat", chat(3));
  bench.effects();
  bench.frame("error", { code: 30010, message: "read what was pushed first" });
  bench.pass(1000);
  assert.ok(bench.written().some(({ type }) => type === "offline_pull"));
  bench.pass(30_000);
  assert.deepEqual(
    bench.events("message").map(({ id }) => id),
    [3],
  );
});

test("a pull that fails is tried later, and holds nothing up", () => {
  const bench = new Bench({ pingInterval: 1e9 });
  bench.connect();
  bench.frame("offline_messages", { pushCount: 1, hasMore: true });
  bench.frame("chat", chat(3));
  bench.effects();
  bench.frame("error", { code: 30011, message: "a service is unavailable" });
  assert.deepEqual(
    bench.events("message").map(({ id }) => id),
    [3],
  );
  bench.pass(10_000);
  assert.ok(bench.written().some(({ type }) => type === "offline_pull"));
});

test("after a break it resumes behind the largest id, and pulls what is older", () => {
  const bench = new Bench();
  bench.connect();
  for (const id of [7, 9, 8]) bench.frame("chat", chat(id));
  bench.effects();
  assert.deepEqual(bench.reconnect(), { confirm: "ack", resume: 9 });
  assert.equal(bench.core.snapshot().resume, 9);
});

test("ids beyond 2^53 stay whole", () => {
  const bench = new Bench();
  bench.connect();
  const large = "9007199254740995";
  bench.core.frame(`{"type":"chat","data":{"id":${large},"msgId":"m","fromUserId":1,"content":"x"}}`, bench.now);
  assert.equal(bench.events("message")[0].id, large);
  bench.core.send("chat", { toUserId: large, content: "x", msgId: "n" }, bench.now);
  assert.ok(bench.effects("write").some(({ text }) => text.includes(`"toUserId":${large}`)));
  assert.equal(bench.core.snapshot().resume, large);
});

test("a gap in a group is filled before what follows it is shown", () => {
  const bench = new Bench();
  bench.core.follow("g", 4, bench.now);
  bench.connect();
  bench.core.synced("g", [groupChat(5)], false, bench.now);
  assert.deepEqual(
    bench.events("message").map(({ seq }) => seq),
    [5],
  );
  bench.frame("group_chat", groupChat(8));
  bench.frame("group_chat", groupChat(7));
  const effects = bench.effects();
  assert.deepEqual(
    effects.filter((effect) => effect.do === "sync"),
    [{ do: "sync", groupId: "g", seq: 5 }],
  );
  bench.core.synced("g", [groupChat(6), groupChat(7)], false, bench.now);
  assert.deepEqual(
    bench.events("message").map(({ seq }) => seq),
    [6, 7, 8],
  );
});

test("each connection, and group_behind, ask for what was missed", () => {
  const bench = new Bench();
  bench.core.follow("g", 4, bench.now);
  bench.connect();
  bench.core.synced("g", [], false, bench.now);
  bench.effects();
  bench.frame("group_behind", { groupId: "g", seq: 9 });
  assert.deepEqual(bench.effects("sync"), [{ do: "sync", groupId: "g", seq: 4 }]);
  bench.core.syncFailed("g", false, bench.now);
  bench.pass(1000);
  assert.deepEqual(bench.effects("sync"), [{ do: "sync", groupId: "g", seq: 4 }]);
  bench.core.synced(
    "g",
    [5, 6].map((seq) => groupChat(seq)),
    true,
    bench.now,
  );
  const effects = bench.effects();
  assert.ok(effects.some((effect) => effect.do === "sync" && effect.seq === 6));
});

test("a hole in storage holds a group up for a second, not for ever", () => {
  const bench = new Bench();
  bench.core.follow("g", 1, bench.now);
  bench.connect();
  bench.effects();
  bench.core.synced("g", [groupChat(2), groupChat(4)], false, bench.now);
  assert.deepEqual(
    bench.events("message").map(({ seq }) => seq),
    [2],
  );
  bench.pass(1000);
  assert.deepEqual(bench.effects("sync"), [{ do: "sync", groupId: "g", seq: 2 }]);
  bench.core.synced("g", [groupChat(4)], false, bench.now);
  assert.deepEqual(
    bench.events("message").map(({ seq }) => seq),
    [4],
  );
});

test("our own messages count in a group, and do not come back as others'", () => {
  const bench = new Bench();
  bench.core.follow("g", 1, bench.now);
  bench.connect();
  bench.core.synced("g", [], false, bench.now);
  bench.core.send("group_chat", { groupId: "g", content: "x", msgId: "mine" }, bench.now);
  bench.effects();
  bench.ack("mine", "sent", { id: 5, seq: 2 });
  assert.deepEqual(bench.effects("sync"), []);
  bench.frame("group_chat", groupChat(3));
  assert.deepEqual(
    bench.events("message").map(({ seq }) => seq),
    [3],
  );
  bench.frame("group_chat", { ...groupChat(4), msgId: "mine" });
  assert.deepEqual(bench.events("message"), []);
});

/** A message with a lower seq and a newer id. */
const anew = (seq) => ({ ...groupChat(seq), msgId: `anew${seq}`, id: 1000 + seq });

test("messages are shown when the counter of their group was set back", () => {
  const bench = new Bench();
  const seqs = () => bench.events("message").map(({ seq }) => seq);
  bench.connect();
  for (const seq of [7, 8, 9]) bench.frame("group_chat", groupChat(seq));
  bench.frame("group_behind", { groupId: "g", seq: 4 });
  bench.frame("group_chat", anew(5));
  bench.frame("group_chat", groupChat(8));
  assert.deepEqual(seqs(), [7, 8, 9, 5]);
  // A gap is filled with what is new; what came before has the same seqs.
  bench.frame("group_chat", anew(7));
  assert.deepEqual(bench.effects("sync"), [{ do: "sync", groupId: "g", seq: 5 }]);
  const found = [groupChat(6), anew(6), anew(7), groupChat(7), groupChat(8), groupChat(9)];
  bench.core.synced("g", found, false, bench.now);
  const shown = bench.events("message").map(({ msgId }) => msgId);
  assert.deepEqual(shown, ["anew6", "anew7"]);
  const state = JSON.parse(JSON.stringify(bench.core.snapshot()));
  const second = new Bench({ state });
  second.connect();
  second.frame("group_chat", groupChat(6));
  second.frame("group_chat", { ...anew(5), msgId: "again", id: 2000 });
  assert.deepEqual(
    second.events("message").map(({ msgId }) => msgId),
    ["again"],
  );
});

test("messages are shown when the database comes from a backup", () => {
  const bench = new Bench();
  bench.connect();
  for (const seq of [7, 8, 9]) bench.frame("group_chat", groupChat(seq));
  bench.frame("group_behind", { groupId: "g", seq: 7 });
  for (const seq of [8, 9]) bench.frame("group_chat", { ...groupChat(seq), msgId: `other${seq}` });
  assert.deepEqual(
    bench.events("message").map(({ seq }) => seq),
    [7, 8, 9, 8, 9],
  );
});

test("who was removed from a group no longer follows it", () => {
  const bench = new Bench();
  bench.core.follow("g", 1, bench.now);
  bench.connect();
  bench.effects();
  bench.core.syncFailed("g", true, bench.now);
  assert.deepEqual(bench.events("group_lost"), [{ groupId: "g" }]);
  assert.deepEqual(bench.core.snapshot().groups, {});
});

test("a client goes on where the one before it was", () => {
  const first = new Bench();
  first.connect();
  first.frame("chat", chat(7));
  first.core.follow("g", 4, first.now);
  first.send("a");
  const state = JSON.parse(JSON.stringify(first.core.snapshot()));
  const second = new Bench({ state });
  second.core.start(second.now);
  second.core.tokenIs("t", second.now);
  assert.deepEqual(second.effects("open")[0].query, { confirm: "ack", resume: 7 });
  second.frame("connected", { userId: 1001 });
  const effects = second.effects();
  assert.ok(effects.some((effect) => effect.do === "write" && effect.text.includes('"a"')));
  assert.ok(effects.some((effect) => effect.do === "sync" && effect.seq === 4));
});

test("what was read while away is told on the next connection", () => {
  const bench = new Bench();
  bench.core.read(1002, ["a"]);
  bench.core.read(1002, ["b"]);
  bench.core.read(1003, ["c"]);
  bench.core.read(1003, null);
  bench.core.readGroup("g", 5);
  bench.core.readGroup("g", 4);
  bench.core.start(bench.now);
  bench.core.tokenIs("t", bench.now);
  bench.frame("connected", { userId: 1001 });
  assert.deepEqual(bench.written(), [
    { type: "read", data: { peerId: 1002, msgIds: ["a", "b"] } },
    { type: "read", data: { peerId: 1003 } },
    { type: "group_read", data: { groupId: "g", readSeq: 5 } },
  ]);
});
