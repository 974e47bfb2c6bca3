// The chat: what the client tells goes into the store, and the views show it.

import { Banner } from "./banner.js";
import { h } from "./dom.js";
import { Loader } from "./loader.js";
import { Sidebar } from "./sidebar.js";
import { SkyeIM, newMsgId } from "./skyeim/skyeim.js";
import { Store, groupKey, privateKey } from "./store.js";
import { Thread } from "./thread.js";

const STATE = "skyeim.state";
const TITLE = "SkyeIM";

export class Chat {
  #user;
  #client;
  #store;
  #loader;
  #sidebar;
  #thread;
  #banner;
  #open = null;
  #drawing = null; // the timer of the next draw
  #typing = new Map(); // conversation key -> Set of userIds

  constructor({ user, names, token, onLeave }) {
    this.#user = user;
    const state = JSON.parse(sessionStorage.getItem(STATE) ?? "{}");
    // What was shown before is in the history; only what was not sent yet goes on.
    const url = new URL(".", location.href);
    this.#client = new SkyeIM({ url, token, device: "web", state: { pending: state.pending } });
    this.#store = new Store(user.userId);
    for (const { userId, name } of names) this.#store.names.set(userId, name);
    this.#loader = new Loader(this.#client, this.#store);
    this.#sidebar = new Sidebar({
      store: this.#store,
      typing: (conversation) => this.#typists(conversation),
      online: (userId) => this.#client.online(userId),
      search: (keyword) => this.#loader.search(keyword),
      onFind: (message) => this.#find(message),
      onLeave: () => this.#leave(onLeave),
    });
    this.#thread = new Thread({
      store: this.#store,
      onSend: (content) => this.#send(this.#open, content),
      onRetry: (message) => this.#retry(message),
      onDiscard: (message) => this.#discard(message),
      onTyping: () => this.#client.typing(target(this.#open)),
      onOlder: () => this.#older(),
      onSeen: () => this.#seen(),
      onBack: () => this.#back(),
    });
    this.#banner = new Banner({
      onRetry: () => this.#client.retry(),
      onTakeOver: () => this.#connect(),
      onLeave: () => this.#leave(onLeave),
    });
    this.root = h(
      "div",
      { class: "app" },
      h("header", {}, h("h1", { class: "unseen", text: TITLE }), this.#banner.root),
      h("div", { class: "panes" }, this.#sidebar.root, this.#thread.root),
    );
    this.#restore(state.pending ?? []);
  }

  async start() {
    this.#listen();
    await this.#connect();
  }

  #connect() {
    return this.#client.connect().catch(() => {}); // the banner says why
  }

  #listen() {
    const on = (event, handler) => this.#client.on(event, handler);
    on("state", (state) => {
      this.#banner.show(state);
      this.#thread.connected(state.state === "open");
    });
    on("connected", ({ userId }) => this.#connected(userId));
    on("message", (message) => this.#message(message));
    on("sent", ({ msgId, id, seq, timestamp }) => {
      this.#change(msgId, { id, seq, createdAt: timestamp, status: "sent" });
    });
    on("failed", ({ msgId, reason }) => this.#change(msgId, { status: "failed", reason }));
    on("delivered", ({ msgId }) =>
      this.#mark("delivered", this.#store.withMessage(msgId), [msgId]),
    );
    on("read", ({ userId, msgIds }) => {
      const conversation =
        userId === null ? this.#store.withMessage(msgIds[0]) : this.#store.private(userId);
      this.#mark("read", conversation, msgIds);
    });
    on("typing", ({ userId, groupId, active }) => {
      const key = groupId ? groupKey(groupId) : privateKey(userId);
      if (!this.#typing.has(key)) this.#typing.set(key, new Set());
      if (active) this.#typing.get(key).add(userId);
      else this.#typing.get(key).delete(userId);
      this.#draw();
    });
    on("presence", () => this.#draw());
    on("event", ({ type, data }) => {
      if (type === "maintenance") this.#banner.announce(data.message);
      else this.#reload();
    });
    on("group_lost", () => this.#reload());
    addEventListener("hashchange", () => this.#route());
    addEventListener("pagehide", () => this.#keep());
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open && !this.#sidebar.escape()) this.#back();
    });
    document.addEventListener("visibilitychange", () => this.#seen());
  }

  async #connected(userId) {
    this.#store.ownId = userId;
    this.#sidebar.own(userId, this.#user.name ?? this.#store.nameOf(userId));
    for (const conversation of this.#store.conversations.values()) conversation.stale = true;
    await this.#reload();
    this.#route();
  }

  /** Ask anew who there is to talk to, and what was said last. */
  async #reload() {
    try {
      await this.#loader.overview();
    } catch (error) {
      if (this.#client.state === "open") this.#thread.fault(error.message);
      return;
    }
    const conversations = [...this.#store.conversations.values()];
    this.#client.watch(conversations.filter(({ isGroup }) => !isGroup).map(({ id }) => id));
    for (const conversation of conversations) {
      if (conversation.isGroup) this.#client.follow(conversation.id, conversation.newestSeq);
    }
    this.#sidebar.ready();
    this.#draw();
    if (this.#open) await this.#load(this.#open);
  }

  // What is shown

  #route() {
    const key = decodeURIComponent(location.hash.slice(1));
    const conversation = this.#store.conversations.get(key) ?? null;
    if (conversation === this.#open) return;
    this.#open = conversation;
    this.root.classList.toggle("has-open", conversation !== null);
    this.#thread.open(conversation);
    this.#drawNow();
    if (conversation) this.#load(conversation);
  }

  #back() {
    const key = this.#open?.key;
    history.pushState(null, "", location.pathname);
    this.#route();
    if (key) this.#sidebar.focus(key);
  }

  async #load(conversation) {
    const { unread } = conversation;
    await this.#loader.newest(conversation).catch((error) => this.#thread.fault(error.message));
    if (conversation !== this.#open) return;
    if (unread && !conversation.firstUnread) {
      const others = conversation.messages.filter(({ own }) => !own);
      conversation.firstUnread = others[Math.max(0, others.length - unread)]?.msgId ?? null;
    }
    this.#drawNow();
    this.#seen();
  }

  async #older() {
    const conversation = this.#open;
    await this.#loader.older(conversation).catch((error) => this.#thread.fault(error.message));
    if (conversation === this.#open) this.#drawNow();
  }

  async #find(message) {
    const conversation = this.#store.of(message);
    location.hash = encodeURIComponent(conversation.key);
    this.#route();
    await this.#loader.upTo(conversation, message).catch(() => {});
    this.#drawNow();
    this.#thread.reveal(message.msgId);
  }

  /** Draw soon: many things may come at once. */
  #draw() {
    this.#drawing ??= setTimeout(() => this.#drawNow());
  }

  #drawNow() {
    clearTimeout(this.#drawing);
    this.#drawing = null;
    const unread = this.#sidebar.draw(this.#open);
    document.title = unread ? `(${unread}) ${TITLE}` : TITLE;
    if (!this.#open) return;
    const typists = this.#typists(this.#open);
    const online = this.#open.isGroup ? null : this.#client.online(this.#open.id);
    this.#thread.draw({ typists, online });
  }

  #typists({ key }) {
    return [...(this.#typing.get(key) ?? [])].map((userId) => this.#store.nameOf(userId));
  }

  /** Tell what the user has before the eyes: it is read. */
  #seen() {
    const conversation = this.#open;
    if (!conversation || document.hidden || !this.#thread.atEnd || !conversation.unread) return;
    conversation.unread = 0;
    if (conversation.isGroup) this.#client.readGroup(conversation.id, conversation.newestSeq);
    else this.#client.read(conversation.id);
    this.#draw();
  }

  // Messages

  #message(message) {
    const own = message.fromUserId === this.#store.ownId;
    const conversation = this.#store.of(message);
    const added = conversation.put({ ...message, own, status: own ? "sent" : undefined });
    if (added) conversation.count({ ...message, own });
    this.#draw();
    this.#seen();
  }

  #send(conversation, content) {
    const msgId = newMsgId();
    const createdAt = Date.now() / 1000;
    const ownId = this.#store.ownId;
    conversation.put({
      msgId,
      content,
      contentType: 1,
      createdAt,
      own: true,
      fromUserId: ownId,
      status: "pending",
    });
    conversation.firstUnread = null;
    this.#dispatch(conversation, content, msgId);
  }

  #dispatch(conversation, content, msgId) {
    // Events tell how it goes, also after a reload; only what the client itself refuses ends here.
    this.#client.send({ ...target(conversation), content, msgId }).catch((error) => {
      this.#change(msgId, { status: "failed", reason: error.reason });
    });
    this.#keep();
    this.#drawNow();
    this.#thread.toEnd();
  }

  #retry({ msgId, content }) {
    const conversation = this.#store.withMessage(msgId);
    conversation.put({ msgId, status: "pending" });
    this.#dispatch(conversation, content, msgId);
  }

  #discard({ msgId }) {
    this.#store.withMessage(msgId).remove(msgId);
    this.#draw();
  }

  #change(msgId, change) {
    const conversation = this.#store.withMessage(msgId);
    conversation?.put({ msgId, ...change });
    // Who answers a group has read it.
    if (change.seq && conversation === this.#open)
      this.#client.readGroup(conversation.id, change.seq);
    this.#keep();
    this.#draw();
  }

  #mark(status, conversation, msgIds) {
    conversation?.mark(status, msgIds);
    this.#draw();
  }

  // What outlives a reload

  #keep() {
    sessionStorage.setItem(STATE, JSON.stringify({ pending: this.#client.snapshot().pending }));
  }

  #restore(pending) {
    const createdAt = Date.now() / 1000;
    for (const { data } of pending) {
      const { msgId, content, contentType, groupId, toUserId } = data;
      const conversation = groupId ? this.#store.group(groupId) : this.#store.private(toUserId);
      conversation.put({
        msgId,
        content,
        contentType,
        createdAt,
        own: true,
        fromUserId: this.#store.ownId,
        status: "pending",
      });
    }
  }

  #leave(onLeave) {
    this.#client.close();
    onLeave();
  }
}

function target({ id, isGroup }) {
  return isGroup ? { groupId: id } : { to: id };
}
