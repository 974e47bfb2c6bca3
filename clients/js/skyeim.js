// The SkyeIM client for browsers and Node.js: sockets, timers and HTTP around what `Core` decides.

import { Api } from "./api.js";
import { Core } from "./core.js";
import { frameOf } from "./draft.js";
import { toId } from "./json.js";
import { SkyeError } from "./rules.js";

export { compareIds, toId } from "./json.js";
export { MAX_CONTENT, SkyeError } from "./rules.js";

const LONGEST_TIMER = 2 ** 31 - 1;

/** The time in ms by a clock that nobody sets: after a jump back timers would wait for hours. */
const clock = () => performance.now();

/** Return a new msgId: a random UUID. */
export function newMsgId() {
  // randomUUID is absent from pages that did not come over HTTPS or from localhost.
  if (globalThis.crypto.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One user's connection to SkyeIM, which comes back by itself. See skyeim.d.ts. */
export class SkyeIM {
  #core;
  #options;
  #socket = null;
  #timer = null;
  #handlers = new Map();
  #settlers = new Map(); // msgId -> {resolve, reject}
  #closed = false;
  #running = false;
  #wake = () => this.#run((now) => this.#core.wake(now));
  #shown = () => document.visibilityState === "visible" && this.#wake();

  constructor(options) {
    const {
      url,
      token,
      device,
      WebSocket = globalThis.WebSocket,
      fetch = globalThis.fetch,
    } = options;
    if (!WebSocket) throw new TypeError("there is no WebSocket here: pass one as an option");
    if (typeof token !== "string" && typeof token !== "function") {
      throw new TypeError("token: a string or a function that returns one is wanted");
    }
    /** The calls over HTTP. */
    this.api = new Api({ url, token, fetch });
    this.#options = { device, WebSocket };
    const { pingInterval, pongTimeout, queueLimit, state } = options;
    const fixedToken = typeof token === "string";
    this.#core = new Core({ pingInterval, pongTimeout, queueLimit, state, fixedToken });
  }

  // The connection

  get state() {
    return this.#core.state;
  }

  /** The user that the token names, once connected; else null. */
  get userId() {
    return this.#core.userId;
  }

  /** Connect, and come back whenever the connection is lost. Resolves when connected. */
  async connect() {
    if (this.#closed) throw new SkyeError("closed", "this client was closed");
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#shown);
    const opened = this.state === "open" ? Promise.resolve() : this.#firstOpen();
    this.#run((now) => this.#core.start(now));
    await opened;
  }

  /** Do not wait for the next attempt, or for the next ping: try now. */
  retry() {
    this.#wake();
  }

  /** Close the connection for good; what was not sent is rejected. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#shown);
    this.#run(() => {
      this.#core.stop("closed");
      this.#core.abandon(new SkyeError("closed", "this client was closed"));
    });
    this.api.close();
  }

  #firstOpen() {
    return new Promise((resolve, reject) => {
      const off = this.on("state", ({ state, reason }) => {
        if (state !== "open" && state !== "stopped") return;
        off();
        if (state === "open") resolve();
        else reject(new SkyeError(reason, `not connected: ${reason}`));
      });
    });
  }

  /** What to pass as the option `state` to another client, so that it goes on from here. */
  snapshot() {
    return this.#core.snapshot();
  }

  // Events

  /** Call a function at each event of this name; returns a function that ends it. */
  on(event, handler) {
    if (!this.#handlers.has(event)) this.#handlers.set(event, new Set());
    this.#handlers.get(event).add(handler);
    return () => this.#handlers.get(event).delete(handler);
  }

  // Messages

  /** Send a message to a user (`to`) or a group (`groupId`); resolves when it is stored. */
  send(draft) {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new SkyeError("closed", "this client was closed");
      const { type, data } = frameOf({ ...draft, msgId: draft.msgId ?? newMsgId() });
      this.#run((now) => this.#core.send(type, data, now));
      this.#settlers.set(data.msgId, { resolve, reject });
    });
  }

  /** Mark messages from a user as read: those named, or all. */
  read(peerId, msgIds = null) {
    this.#run(() => this.#core.read(toId(peerId), msgIds));
  }

  /** Mark a group as read up to a seq. */
  readGroup(groupId, seq) {
    this.#run(() => this.#core.readGroup(groupId, seq));
  }

  /** Tell a user (`to`) or a group (`groupId`) that the user is typing; call it at each key. */
  typing({ to, groupId }) {
    const target = to === undefined ? { groupId } : { toUserId: toId(to) };
    this.#run((now) => this.#core.tellTyping(target, now));
  }

  /** Follow the presence of users, by the event `presence`. */
  watch(userIds) {
    this.#run((now) => this.#core.watch(userIds.map(toId), now));
  }

  /** Tell whether a watched user is online: true, false, or null when that is not known. */
  online(userId) {
    return this.#core.online(toId(userId));
  }

  /** Keep up with a group: everything with a larger seq comes as `message`, without gaps. */
  follow(groupId, seq = 0) {
    this.#run((now) => this.#core.follow(groupId, seq, now));
  }

  // What the core wants done

  #run(change) {
    change(clock());
    if (this.#running) return; // a handler of an event has called us: the outer call goes on
    this.#running = true;
    try {
      for (let effects; (effects = this.#core.take()).length;) {
        for (const effect of effects) this.#perform(effect);
      }
    } finally {
      this.#running = false;
    }
    clearTimeout(this.#timer);
    const now = clock();
    const deadline = this.#core.deadline(now);
    if (deadline === Infinity) return;
    const pause = Math.min(Math.max(deadline - now, 0), LONGEST_TIMER);
    this.#timer = setTimeout(() => this.#run((then) => this.#core.tick(then)), pause);
  }

  #perform(effect) {
    switch (effect.do) {
      case "token":
        this.api.token(effect.fresh).then(
          (token) => this.#run((now) => this.#core.tokenIs(token, now)),
          (cause) => {
            if (this.#closed) return;
            const error = Object.assign(new SkyeError("no_token", String(cause)), { cause });
            this.#run((now) => this.#core.tokenFailed(error, now));
          },
        );
        break;
      case "open":
        this.#open(effect);
        break;
      case "write":
        if (this.#socket?.readyState === 1) this.#socket.send(effect.text);
        break;
      case "drop":
        this.#drop();
        break;
      case "probe":
        this.#probe(effect.token);
        break;
      case "sync":
        this.#sync(effect);
        break;
      case "settle":
        this.#settle(effect);
        break;
      default:
        this.#emit(effect.event, effect.data);
    }
  }

  #open({ query, token }) {
    this.#drop();
    const url = new URL("ws", this.api.base);
    url.protocol = url.protocol.replace("http", "ws");
    const { device, WebSocket } = this.#options;
    for (const [name, value] of Object.entries({ ...query, device })) {
      if (value !== undefined) url.searchParams.set(name, value);
    }
    let socket;
    try {
      socket = new WebSocket(url.href, ["bearer", token]);
    } catch (cause) {
      // What no browser takes as a token, or a page that may not speak to this address.
      this.#run((now) => this.#core.closed(1006, String(cause), now));
      return;
    }
    this.#socket = socket;
    const ended = (code, reason) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#run((now) => this.#core.closed(code, reason, now));
    };
    let opened = false;
    socket.onopen = () => {
      opened = true;
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket) this.#run((now) => this.#core.frame(data, now));
    };
    // `onclose` follows and says more, except in Node.js 20 when there never was a connection.
    socket.onerror = () => {
      if (!opened) ended(1006, "");
    };
    socket.onclose = ({ code, reason }) => ended(code, String(reason));
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState < 2) socket.close(1000);
  }

  async #probe(token) {
    try {
      await this.api.call("message/unread/count", {}, token);
    } catch (error) {
      if (error.code === 401) this.#run(() => this.#core.refused());
    }
  }

  async #sync({ groupId, seq }) {
    try {
      const { list, hasMore } = await this.api.sync(groupId, seq);
      this.#run((now) => this.#core.synced(groupId, list, hasMore, now));
    } catch (error) {
      const lost = error.reason === "not_member" || error.reason === "group_not_found";
      if (!this.#closed) this.#run((now) => this.#core.syncFailed(groupId, lost, now));
    }
  }

  #settle({ msgId, error, result }) {
    const settler = this.#settlers.get(msgId);
    this.#settlers.delete(msgId);
    if (error) settler?.reject(error);
    else settler?.resolve(result);
  }

  #emit(event, data) {
    for (const handler of [...(this.#handlers.get(event) ?? [])]) {
      try {
        handler(data);
      } catch (error) {
        // A fault of the application's must not stop the client; it is reported as uncaught.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
