// One conversation: its messages, and the field for the next one.

import { Composer } from "./composer.js";
import { h, icon, iconButton } from "./dom.js";
import { avatar, contentNodes, dayName, isEmoji, listOf, sameDay, timeOf } from "./text.js";

const NEAR = 80; // px from the end that still count as the end
const OLDER = 400; // px from the top at which older messages are fetched
const QUIET = 1000; // ms in which a page of the history is not read out
const TOGETHER = 300; // s between two messages of one sender that are shown as one block

const STATUS = {
  pending: ["clock", "Waiting to be sent"],
  sent: ["sent", "Sent"],
  delivered: ["delivered", "Delivered"],
  read: ["read", "Read"],
  failed: ["failed", "Not sent"],
};

const WHY = {
  not_friend: "you are not friends",
  blocked: "one of you has blocked the other",
  group_not_found: "there is no such group any more",
  not_member: "you are not in this group",
  muted: "you are muted here",
  invalid: "it cannot be sent like this",
  queue_full: "too much is waiting",
};

/** The mark that says how far a message has come. */
export function tick(status) {
  const [name, label] = STATUS[status] ?? STATUS.sent;
  return h("span", { class: `tick tick-${status}` }, icon(name, label));
}

export class Thread {
  #on;
  #conversation = null;
  #nodes = new Map(); // msgId -> {node, text}
  #loading = false;
  #quiet = null;

  #title = h("h2", { class: "thread-title", tabindex: "-1" });
  #state = h("p", { class: "thread-state" });
  #face = h("span", { class: "thread-face" });
  #log = h("div", { class: "log", role: "log", "aria-label": "Messages", "aria-live": "polite" });
  #top = h("p", { class: "top", hidden: "" });
  #typing = h("p", { class: "typing-line", "aria-live": "polite" });
  #fault = h("p", { class: "fault", role: "alert", hidden: "" });
  #scroll;
  #jump;
  #composer;

  constructor(on) {
    this.#on = on;
    this.#composer = new Composer({ onSend: on.onSend, onTyping: on.onTyping });
    this.#scroll = h(
      "div",
      {
        class: "messages",
        tabindex: "0",
        role: "region",
        "aria-label": "Messages",
        on: { scroll: () => this.#scrolled() },
      },
      this.#top,
      this.#log,
    );
    this.#jump = iconButton("down", "To the newest message", () => this.toEnd(), {
      class: "jump",
      hidden: "",
    });
    this.#chat = h(
      "div",
      { class: "thread-chat", hidden: "" },
      h(
        "header",
        { class: "thread-head" },
        iconButton("back", "Back to the conversations", on.onBack, { class: "back" }),
        this.#face,
        h("div", { class: "thread-name" }, this.#title, this.#state),
      ),
      h("div", { class: "messages-box" }, this.#scroll, this.#jump),
      this.#fault,
      this.#typing,
      this.#composer.root,
    );
    this.#blank = h(
      "div",
      { class: "blank" },
      h("div", { class: "blank-art" }, icon("chat")),
      h("h2", { text: "Your messages" }),
      h("p", { text: "Choose a conversation to read and write." }),
    );
    this.root = h("main", { class: "thread" }, this.#blank, this.#chat);
    // A keyboard that slides in, or a window that shrinks, must not hide the end.
    new ResizeObserver(() => this.#wasAtEnd && this.#stick()).observe(this.#scroll);
  }

  #chat;
  #blank;
  #wasAtEnd = true;

  get atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  open(conversation) {
    if (this.#conversation) this.#conversation.firstUnread = null;
    this.#conversation = conversation;
    this.#nodes.clear();
    this.#log.replaceChildren();
    this.#wasAtEnd = true;
    this.#chat.hidden = conversation === null;
    this.#blank.hidden = conversation !== null;
    this.#fault.hidden = true;
    if (!conversation) return;
    this.#composer.open(conversation.key, this.#on.store.titleOf(conversation));
    this.#composer.focus();
  }

  connected(open) {
    this.root.classList.toggle("offline", !open);
  }

  fault(message) {
    this.#fault.textContent = message;
    this.#fault.hidden = false;
  }

  draw({ typists, online }) {
    const { store } = this.#on;
    const conversation = this.#conversation;
    const title = store.titleOf(conversation);
    this.#title.textContent = title;
    this.#face.replaceChildren(
      avatar(title, conversation.key, conversation.isGroup ? { class: "square" } : {}),
    );
    this.#state.textContent =
      typists.length && !conversation.isGroup ? "typing…" : this.#stateOf(online);
    this.#state.className = `thread-state ${online ? "online" : ""}`;
    this.#typing.textContent =
      typists.length && conversation.isGroup
        ? `${listOf(typists)} ${typists.length > 1 ? "are" : "is"} typing…`
        : "";
    this.#drawMessages();
  }

  #stateOf(online) {
    const { isGroup, members } = this.#conversation;
    if (!isGroup) return { true: "online", false: "offline" }[online] ?? "";
    const others = members.filter(({ userId }) => userId !== this.#on.store.ownId);
    const names = others.slice(0, 4).map(({ userId }) => this.#on.store.nameOf(userId));
    const more = others.length > 4 ? [`${others.length - 4} others`] : [];
    return listOf([...names, ...more, "you"]);
  }

  #drawMessages() {
    const { loaded, hasOlder, firstUnread, shown: messages } = this.#conversation;
    const follow = this.#wasAtEnd;
    const before = { height: this.#scroll.scrollHeight, top: this.#scroll.scrollTop };
    const oldFirst = this.#log.firstElementChild?.dataset.id;
    const nodes = [];
    let previous;
    for (const message of messages) {
      if (!previous || !sameDay(previous.createdAt, message.createdAt)) {
        nodes.push(this.#line(`day ${message.msgId}`, "day", dayName(message.createdAt)));
        previous = undefined;
      }
      if (message.msgId === firstUnread) {
        nodes.push(this.#line("new", "new", "New"));
        previous = undefined;
      }
      nodes.push(this.#message(message, previous));
      previous = message;
    }
    this.#announce(nodes);
    const wanted = new Set(nodes);
    for (const node of [...this.#log.children]) if (!wanted.has(node)) node.remove();
    nodes.forEach((node, index) => {
      if (this.#log.children[index] !== node)
        this.#log.insertBefore(node, this.#log.children[index] ?? null);
    });
    this.#top.hidden = !loaded || (messages.length > 0 && hasOlder);
    this.#top.textContent = messages.length
      ? "This is where it began."
      : "No messages yet. Say hello!";
    if (follow) this.#stick();
    else if (oldFirst !== this.#log.firstElementChild?.dataset.id) {
      this.#scroll.scrollTop = before.top + this.#scroll.scrollHeight - before.height;
    }
    this.#updateJump();
    queueMicrotask(() => this.#fill());
  }

  /** Have a screen reader tell what is new at the end; not a page of the history. */
  #announce(nodes) {
    const last = this.#log.lastElementChild;
    const history = !last || nodes[0] !== this.#log.firstElementChild;
    clearTimeout(this.#quiet);
    this.#log.setAttribute("aria-live", history ? "off" : "polite");
    this.#quiet = setTimeout(() => this.#log.setAttribute("aria-live", "polite"), QUIET);
  }

  #line(id, kind, text) {
    const known = this.#nodes.get(id);
    if (known?.text === text) return known.node;
    const node = h("div", { class: `line line-${kind}`, "data-id": id }, h("span", { text }));
    this.#nodes.set(id, { node, text });
    return node;
  }

  #message(message, previous) {
    const { store } = this.#on;
    const { isGroup } = this.#conversation;
    const joined =
      Boolean(previous) &&
      previous.fromUserId === message.fromUserId &&
      message.createdAt - previous.createdAt < TOGETHER;
    const { msgId, own, status, createdAt, content, reason, contentType } = message;
    const name = own ? "You" : store.nameOf(message.fromUserId);
    const text = JSON.stringify([joined, name, status, timeOf(createdAt), content, reason]);
    const known = this.#nodes.get(msgId);
    if (known?.text === text) return known.node;
    const named = isGroup && !own && !joined;
    const node = known?.node ?? h("div", { role: "article", "data-id": msgId });
    node.className =
      `message ${own ? "own" : "theirs"} ${joined ? "joined" : ""}` +
      `${isGroup ? " in-group" : ""} ${status === "failed" ? "is-failed" : ""}`;
    node.replaceChildren(
      ...(isGroup && !own
        ? [
            joined
              ? h("span", { class: "gap" })
              : avatar(name, `u${message.fromUserId}`, { class: "small" }),
          ]
        : []),
      h(
        "div",
        { class: "bubble" },
        named
          ? h("span", { class: "sender", text: name })
          : h("span", { class: "unseen", text: `${name}: ` }),
        h(
          "span",
          { class: isEmoji({ content, contentType }) ? "content emoji" : "content", dir: "auto" },
          ...contentNodes({ content, contentType }),
        ),
        h(
          "span",
          { class: "meta" },
          h("time", {
            datetime: new Date(createdAt * 1000).toISOString(),
            text: timeOf(createdAt),
          }),
          own && tick(status),
        ),
      ),
      ...(status === "failed" ? [this.#failure(message)] : []),
    );
    this.#nodes.set(msgId, { node, text });
    return node;
  }

  #failure(message) {
    const why = WHY[message.reason];
    return h(
      "div",
      { class: "failure" },
      h("span", { text: why ? `Not sent: ${why}.` : "Not sent." }),
      h("button", {
        class: "link",
        type: "button",
        text: "Try again",
        on: { click: () => this.#on.onRetry(message) },
      }),
      h("button", {
        class: "link",
        type: "button",
        text: "Discard",
        on: { click: () => this.#on.onDiscard(message) },
      }),
    );
  }

  // Scrolling

  toEnd() {
    this.#wasAtEnd = true;
    this.#stick();
  }

  /** Show a message and mark it for a moment. */
  reveal(msgId) {
    const node = this.#nodes.get(msgId)?.node;
    if (!node) return;
    this.#wasAtEnd = false;
    node.scrollIntoView({ block: "center" });
    node.classList.add("found");
    setTimeout(() => node.classList.remove("found"), 2500);
  }

  #stick() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#updateJump();
  }

  #scrolled() {
    this.#wasAtEnd = this.atEnd;
    this.#updateJump();
    if (this.#wasAtEnd) this.#on.onSeen();
    this.#fill();
  }

  /** Fetch older messages when the user is near the oldest that are here. */
  async #fill() {
    const conversation = this.#conversation;
    if (!conversation?.loaded || !conversation.hasOlder || this.#loading) return;
    if (this.#scroll.scrollTop > OLDER) return;
    this.#loading = true;
    await this.#on.onOlder();
    this.#loading = false;
  }

  #updateJump() {
    this.#jump.hidden = this.atEnd;
  }
}
