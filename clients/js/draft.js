// What an application wants to send, checked before it is kept: what cannot be written would wait
// in the outbox for ever, and all others behind it.

import { toId } from "./json.js";
import { MAX_CONTENT, MSG_ID, SkyeError } from "./rules.js";

const MAX_GROUP_ID = 64;
const HALF_A_CHARACTER = /\p{Surrogate}/u;

/** Return `{type, data}` of the frame; throws SkyeError. */
export function frameOf({ to, groupId, content, contentType = 1, atUserIds, msgId }) {
  if ((to === undefined) === (groupId === undefined)) {
    throw new SkyeError("invalid", "either to or groupId is wanted");
  }
  const length = typeof content === "string" ? [...content].length : 0;
  if (length < 1 || length > MAX_CONTENT || HALF_A_CHARACTER.test(content)) {
    throw new SkyeError("invalid", `content: 1 to ${MAX_CONTENT} characters are wanted`);
  }
  if (!Number.isInteger(contentType)) {
    throw new SkyeError("invalid", "contentType: an integer is wanted");
  }
  if (!MSG_ID.test(msgId)) throw new SkyeError("invalid", "msgId: it is malformed");
  const more = { content, contentType, atUserIds: atUserIds && ids(atUserIds), msgId };
  if (to !== undefined) return { type: "chat", data: { toUserId: ids([to])[0], ...more } };
  if (typeof groupId !== "string" || !groupId || groupId.length > MAX_GROUP_ID) {
    throw new SkyeError("invalid", `groupId: 1 to ${MAX_GROUP_ID} characters are wanted`);
  }
  return { type: "group_chat", data: { groupId, ...more } };
}

function ids(values) {
  try {
    return Array.from(values, toId);
  } catch (cause) {
    throw Object.assign(new SkyeError("invalid", String(cause)), { cause });
  }
}
