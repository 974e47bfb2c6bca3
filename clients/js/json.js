// JSON whose integers beyond 2^53 survive: they are strings in JavaScript, numbers on the wire.

const LONG = /\d{16}/;
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const DECIMAL = /^-?\d+$/;
const ID_FIELDS = new Set(["toUserId", "peerId", "userIds", "atUserIds", "readSeq"]);

/** Parse JSON; integers that a double cannot hold become strings of decimal digits. */
export function parse(text) {
  return JSON.parse(LONG.test(text) ? text.replace(STRING_OR_NUMBER, quoteIfLong) : text);
}

function quoteIfLong(part) {
  return DECIMAL.test(part) && !Number.isSafeInteger(Number(part)) ? `"${part}"` : part;
}

/** Return the text of a frame; ids that are strings of digits are written as integers. */
export function encode(type, data) {
  return `{"type":${JSON.stringify(type)},"data":${encodeObject(data)}}`;
}

/** Return an object as JSON, with its ids as integers. Fields that are undefined are left out. */
export function encodeObject(data) {
  const fields = [];
  for (const [name, value] of Object.entries(data)) {
    if (value === undefined) continue;
    const text = ID_FIELDS.has(name) ? encodeIds(value) : JSON.stringify(value);
    fields.push(`${JSON.stringify(name)}:${text}`);
  }
  return `{${fields.join(",")}}`;
}

function encodeIds(value) {
  if (Array.isArray(value)) return `[${value.map(encodeIds).join(",")}]`;
  const text = String(value);
  if (!DECIMAL.test(text))
    throw new TypeError(`an integer is wanted, not ${JSON.stringify(value)}`);
  return text;
}

/** Return an id in the one form it has here: a number, or a string of digits beyond 2^53. */
export function toId(value) {
  const text = String(value);
  if (!DECIMAL.test(text)) throw new TypeError(`an id is wanted, not ${JSON.stringify(value)}`);
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text).toString();
}

/** Compare two ids as the integers they are: below 0, 0 or above 0. */
export function compareIds(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  const [a, b] = [BigInt(one), BigInt(other)];
  return a < b ? -1 : a > b ? 1 : 0;
}
