import assert from "node:assert/strict";
import { test } from "node:test";
import { frameOf } from "../draft.js";
import { Bench, chat, groupChat } from "./helpers.js";

const JUNK = [
  "",
  "null",
  "[]",
  '"chat"',
  "{",
  '{"type":7,"data":{}}',
  '{"type":"chat"}',
  '{"type":"chat","data":[]}',
  '{"type":"chat","data":{"id":null,"msgId":"m","fromUserId":1,"content":"x"}}',
  '{"type":"group_chat","data":{"id":1,"msgId":"m","fromUserId":1,"content":"x","groupId":"g","seq":"9"}}',
  '{"type":"group_behind","data":{"groupId":"g","seq":null}}',
  '{"type":"offline_messages","data":{"pushCount":"3","hasMore":true}}',
  '{"type":"ack","data":{"msgId":"mine","status":"sent","seq":{}}}',
  '{"type":"token","data":{}}',
  '{"type":"presence","data":{"online":7}}',
];

test("what is no frame is told, and changes nothing", () => {
  for (const text of JUNK) {
    const bench = new Bench();
    bench.connect();
    bench.core.follow("g", 4, bench.now);
    bench.core.synced("g", [], false, bench.now);
    bench.send("mine");
    bench.effects();
    const before = JSON.stringify(bench.core.snapshot());
    bench.core.frame(text, bench.now);
    assert.equal(bench.events("error").length, 1, text);
    assert.equal(JSON.stringify(bench.core.snapshot()), before, text);
    assert.ok(bench.core.deadline(bench.now) > bench.now, text);
    bench.frame("chat", chat(1));
    bench.frame("group_chat", groupChat(5));
    assert.deepEqual(
      bench.events("message").map(({ msgId }) => msgId),
      ["m1", "g5"],
      text,
    );
  }
});

test("a server that always has more, and gives nothing, is not asked all the time", () => {
  const bench = new Bench();
  bench.connect();
  bench.core.follow("g", 4, bench.now);
  bench.effects();
  let asked = 0;
  for (let turn = 0; turn < 100; turn += 1) {
    bench.frame("offline_messages", { pushCount: 0, hasMore: true });
    bench.core.synced("g", [], true, bench.now);
    const effects = bench.effects();
    asked += effects.filter((each) => each.do === "sync" || /pull/.test(each.text)).length;
    bench.pass(10);
  }
  assert.ok(asked <= 4, String(asked));
});

const GOOD = { to: 1, content: "x", msgId: "m" };

test("a draft that no frame can hold is refused at once", () => {
  assert.deepEqual(frameOf({ ...GOOD, atUserIds: [2, "3"] }), {
    type: "chat",
    data: { toUserId: 1, content: "x", contentType: 1, atUserIds: [2, 3], msgId: "m" },
  });
  const wrong = [
    { to: undefined },
    { groupId: "g" },
    { to: "anna" },
    { to: undefined, groupId: 7 },
    { to: undefined, groupId: "" },
    { content: "" },
    { content: 7 },
    { content: "x".repeat(16385) },
    { content: "half an emoji \ud83d" },
    { contentType: 1n },
    { atUserIds: ["x"] },
    { msgId: "with a space" },
  ];
  for (const draft of wrong) {
    assert.throws(() => frameOf({ ...GOOD, ...draft }), { name: "SkyeError", reason: "invalid" });
  }
});
