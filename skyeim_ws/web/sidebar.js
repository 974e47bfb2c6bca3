// The list of conversations, with what was said last, what is unread, and a search.

import { h, icon, iconButton } from "./dom.js";
import { avatar, briefTime, preview } from "./text.js";
import { themeButton } from "./theme.js";
import { tick } from "./thread.js";

const SEARCH_DELAY = 250; // ms
const SHORTEST = 2; // characters of a search in messages
const SHOWN = 30;

export class Sidebar {
  #on;
  #open = null;
  #found = null; // messages, while something is searched
  #timer = null;
  #rows = new Map(); // conversation key -> the text of its row, to draw only what has changed

  constructor(on) {
    this.#on = on;
    this.#search = h("input", {
      class: "search-field",
      type: "search",
      placeholder: "Search",
      autocomplete: "off",
      "aria-label": "Search conversations and messages",
      on: { input: () => this.#typed() },
    });
    this.#me = h("div", { class: "me" });
    this.#list = h("ul", { class: "list", "aria-label": "Conversations" });
    this.#results = h("section", { class: "results", hidden: "", "aria-label": "Messages found" });
    this.#empty = h("p", { class: "empty-list", text: "Loading…" });
    this.root = h(
      "nav",
      { class: "sidebar", "aria-label": "Conversations" },
      h(
        "header",
        { class: "sidebar-head" },
        this.#me,
        themeButton(),
        iconButton("leave", "Sign out", on.onLeave),
      ),
      h("div", { class: "search" }, icon("search"), this.#search),
      h("div", { class: "scroll", tabindex: "-1" }, this.#list, this.#empty, this.#results),
    );
  }

  #search;
  #me;
  #list;
  #results;
  #empty;

  own(userId, name) {
    this.#me.replaceChildren(
      avatar(name, `u${userId}`, { class: "small" }),
      h("h2", { class: "me-name", text: name }),
    );
  }

  ready() {
    this.#empty.textContent = "Nobody is here yet. Add a friend, and you can chat.";
  }

  focus(key) {
    this.#list.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
  }

  /** Leave the search, if there is one. */
  escape() {
    if (!this.#search.value) return false;
    this.#search.value = "";
    this.#typed();
    return true;
  }

  /** Draw the list; returns the number of unread messages. */
  draw(open) {
    this.#open = open;
    const { store } = this.#on;
    const wanted = this.#search.value.trim().toLowerCase();
    const all = store.sorted();
    const shown = all.filter((each) => store.titleOf(each).toLowerCase().includes(wanted));
    const rows = shown.map((conversation) => this.#row(conversation));
    rows.forEach((row, index) => {
      if (this.#list.children[index] !== row)
        this.#list.insertBefore(row, this.#list.children[index] ?? null);
    });
    while (this.#list.children.length > rows.length) this.#list.lastChild.remove();
    this.#empty.hidden = all.length > 0;
    this.#drawResults(wanted);
    return all.reduce((sum, { unread }) => sum + unread, 0);
  }

  #row(conversation) {
    const { store } = this.#on;
    const title = store.titleOf(conversation);
    const online = conversation.isGroup ? null : this.#on.online(conversation.id);
    const typists = this.#on.typing(conversation);
    const { last, unread, key } = conversation;
    const current = conversation === this.#open;
    const line = typists.length
      ? typingLine(conversation, typists)
      : last
        ? this.#preview(conversation, last)
        : "No messages yet";
    const time = last ? briefTime(last.createdAt) : "";
    const status = last?.own && !typists.length ? last.status : "";
    const text = JSON.stringify([title, online, line, time, status, unread, current]);
    const known = this.#rows.get(key);
    if (known?.text === text) return known.row;
    const badge = unread > 99 ? "99+" : String(unread);
    const link = h(
      "a",
      {
        class: "row",
        href: `#${encodeURIComponent(key)}`,
        "data-key": key,
        "aria-current": current ? "true" : null,
      },
      h(
        "span",
        { class: "avatar-box" },
        avatar(title, key, conversation.isGroup ? { class: "square" } : {}),
        online && h("span", { class: "dot", role: "img", "aria-label": "online" }),
      ),
      h(
        "span",
        { class: "row-main" },
        h("span", { class: "row-title", text: title }),
        h(
          "span",
          { class: `row-line ${typists.length ? "typing" : ""}` },
          status ? tick(status) : null,
          h("span", { class: "row-text", text: line }),
        ),
      ),
      h(
        "span",
        { class: "row-side" },
        h("span", { class: "row-time", text: time }),
        unread > 0 &&
          h("span", { class: "badge" }, badge, h("span", { class: "unseen", text: " unread" })),
      ),
    );
    const row = known?.row ?? h("li");
    const focused = row.contains(document.activeElement);
    row.replaceChildren(link);
    if (focused) link.focus();
    this.#rows.set(key, { row, text });
    return row;
  }

  #preview({ isGroup }, message) {
    if (message.own) return `You: ${preview(message)}`;
    return isGroup
      ? `${this.#on.store.nameOf(message.fromUserId)}: ${preview(message)}`
      : preview(message);
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#found = null;
    this.draw(this.#open);
    const keyword = this.#search.value.trim();
    if (keyword.length < SHORTEST) return;
    this.#timer = setTimeout(async () => {
      const found = await this.#on.search(keyword).catch(() => []);
      if (this.#search.value.trim() !== keyword) return;
      this.#found = found;
      this.draw(this.#open);
    }, SEARCH_DELAY);
  }

  #drawResults(wanted) {
    const { store } = this.#on;
    this.#results.hidden = this.#found === null;
    if (this.#found === null) return;
    const items = this.#found.slice(0, SHOWN).map((message) => {
      const title = store.titleOf(store.of(message));
      return h(
        "li",
        {},
        h(
          "button",
          { class: "result", type: "button", on: { click: () => this.#on.onFind(message) } },
          h("span", { class: "row-title", text: title }),
          h("span", { class: "row-time", text: briefTime(message.createdAt) }),
          h("span", { class: "row-line" }, ...marked(preview(message), wanted)),
        ),
      );
    });
    this.#results.replaceChildren(
      h("h2", { class: "section", text: "Messages" }),
      items.length ? h("ul", {}, items) : h("p", { class: "empty-list", text: "Nothing found." }),
    );
  }
}

function typingLine({ isGroup }, typists) {
  return isGroup ? `${typists[0]} is typing…` : "typing…";
}

/** A line with what was searched for marked, and not too far from its beginning. */
function marked(line, wanted) {
  const at = line.toLowerCase().indexOf(wanted);
  if (at < 0) return [line];
  const from = at > 24 ? at - 16 : 0;
  return [
    `${from ? "…" : ""}${line.slice(from, at)}`,
    h("mark", { text: line.slice(at, at + wanted.length) }),
    line.slice(at + wanted.length),
  ];
}
