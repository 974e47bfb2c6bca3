// The calls over HTTP: history, search, friends, groups; and the token that all of them show.

import { parse } from "./json.js";
import { REASON_CODES, SkyeError } from "./rules.js";
import { isWhole } from "./shapes.js";

// What may stand in a subprotocol, where pages have to show it.
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

const CALL_DEADLINE = 10000; // ms
const TOKEN_DEADLINE = 15000;
const PAGE = 200; // messages
const ROWS = 100; // friends, groups, members: servers give no more at a time

const REASONS = Object.fromEntries(
  Object.entries(REASON_CODES)
    .filter(([reason]) => reason !== "blocked")
    .map(([r, c]) => [c, r]),
);

export class Api {
  #source; // a token, or a function that gets one
  #token = "";
  #fetch;
  #calls = new Set(); // AbortControllers, also of the waiting for tokens

  constructor({ url, token, fetch = globalThis.fetch }) {
    this.base = new URL(
      `${String(url)
        .replace(/^ws/, "http")
        .replace(/\/(ws)?$/, "")}/`,
    );
    this.#source = token;
    this.#fetch = fetch;
  }

  /** Return the token, from its source if there is none or a fresh one is wanted. */
  async token(fresh = false) {
    if (typeof this.#source === "string") return this.#source;
    if (fresh || !this.#token) {
      const token = await this.#inTime(Promise.resolve(this.#source({ fresh })));
      if (typeof token !== "string" || !TOKEN.test(token)) {
        throw new SkyeError("no_token", "what came is no token");
      }
      this.#token = token;
    }
    return this.#token;
  }

  /** Abort what is under way. */
  close() {
    for (const call of this.#calls) call.abort();
  }

  /** Messages of a conversation, newest first, with a smaller id than `before`. */
  history({ peerId, groupId, before, limit = 50 }) {
    return groupId === undefined
      ? this.get("message/history", { peerId, lastMsgId: before, limit })
      : this.get("message/group/history", { groupId, lastMsgId: before, limit });
  }

  /** Messages of a group with a larger seq, ascending. */
  async sync(groupId, seq) {
    const page = await this.get("message/group/sync", { groupId, seq, limit: PAGE });
    if (!page.list.every((each) => isWhole("group_chat", each))) throw new TypeError("no message");
    return page;
  }

  conversations({ limit, before } = {}) {
    return this.get("message/conversations", { limit, before });
  }

  async search(keyword) {
    return (await this.get("message/search", { keyword })).list;
  }

  mentions({ groupId, before, limit } = {}) {
    return this.get("message/at-me", { groupId, lastMsgId: before, limit });
  }

  async unreadCount(peerId) {
    return (await this.get("message/unread/count", { peerId })).count;
  }

  friends() {
    return this.#all("friend/list");
  }

  groups() {
    return this.#all("group/list");
  }

  members(groupId) {
    return this.#all("group/member/list", { groupId });
  }

  async #all(path, query = {}) {
    const found = [];
    for (let page = 1; ; page += 1) {
      const { list, total } = await this.get(path, { ...query, page, pageSize: ROWS });
      found.push(...list);
      if (!list.length || found.length >= total) return found;
    }
  }

  /** Call a path of the gateway; returns `data` of the answer, rejects with a SkyeError. */
  async get(path, query = {}) {
    try {
      return await this.call(path, query, await this.token());
    } catch (error) {
      if (error.code !== 401 || typeof this.#source !== "function") throw error;
      return this.call(path, query, await this.token(true));
    }
  }

  /** Call a path with a given token, once. */
  async call(path, query, token) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, value);
    }
    const { status, body } = await this.#exchange(url, token);
    if (status === 200 && body.code === 200) return body.data ?? {};
    throw new SkyeError(REASONS[body.code] ?? `http_${status}`, body.message, body.code ?? status);
  }

  async #exchange(url, token) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), CALL_DEADLINE);
    this.#calls.add(abort);
    try {
      const headers = { Authorization: `Bearer ${token}` };
      const answer = await this.#fetch.call(globalThis, url, { headers, signal: abort.signal });
      return { status: answer.status, body: parse(await answer.text()) ?? {} };
    } catch (cause) {
      throw Object.assign(new SkyeError("unreachable", "the server cannot be reached"), { cause });
    } finally {
      clearTimeout(timer);
      this.#calls.delete(abort);
    }
  }

  async #inTime(promise) {
    const abort = new AbortController();
    this.#calls.add(abort);
    let timer;
    const late = new Promise((_, reject) => {
      const end = () => reject(new SkyeError("timeout", "no token came"));
      timer = setTimeout(end, TOKEN_DEADLINE);
      abort.signal.onabort = end;
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
      this.#calls.delete(abort);
    }
  }
}
