import assert from "node:assert/strict";
import { test } from "node:test";
import { compareIds, encode, parse, toId } from "../json.js";

test("integers beyond 2^53 become strings, and nothing else changes", () => {
  const text =
    '{"id":9007199254740993,"s":"x\\"9007199254740993","f":1.2345678901234567,' +
    '"e":12345678901234567e2,"small":1234567890123456,"negative":-9223372036854775808}';
  assert.deepEqual(parse(text), {
    id: "9007199254740993",
    s: 'x"9007199254740993',
    f: 1.2345678901234567,
    e: 12345678901234567e2,
    small: 1234567890123456,
    negative: "-9223372036854775808",
  });
});

test("ids are written as integers, absent fields not at all", () => {
  const data = { toUserId: "9007199254740993", atUserIds: [-1, "7"], content: "1", no: undefined };
  assert.equal(
    encode("chat", data),
    '{"type":"chat","data":{"toUserId":9007199254740993,"atUserIds":[-1,7],"content":"1"}}',
  );
  assert.throws(() => encode("chat", { toUserId: "1,2" }), TypeError);
});

test("an id has one form, and ids are compared as integers", () => {
  assert.deepEqual(["7", 7, 7n, "9007199254740993"].map(toId), [7, 7, 7, "9007199254740993"]);
  for (const wrong of ["", "x", 1.5, null]) assert.throws(() => toId(wrong), TypeError);
  assert.ok(compareIds("9007199254740993", 9) > 0);
  assert.ok(compareIds(9, "9007199254740993") < 0);
  assert.equal(compareIds("9007199254740993", "9007199254740993"), 0);
});
