// The state of the connection, as far as somebody wants to know it, and what operators say.

import { h } from "./dom.js";

const PATIENCE = 800; // ms before a connection that is being opened is worth a word

export class Banner {
  #on;
  #timer = null;
  #ticker = null;
  #wasOpen = false;

  constructor(on) {
    this.#on = on;
    this.root = h("div", { class: "banner", role: "status", hidden: "" });
  }

  show({ state, reason, code, retryAt }) {
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
    if (state === "open") {
      this.#wasOpen = true;
      this.#set(null);
    } else if (state === "waiting") {
      this.#waiting(retryAt, code === 1001);
    } else if (state === "stopped") {
      this.#stopped(reason);
    } else {
      const text = this.#wasOpen ? "Reconnecting…" : "Connecting…";
      this.#timer = setTimeout(() => this.#set("calm", text), PATIENCE);
    }
  }

  /** Show what operators say, until somebody has read it or the connection changes. */
  announce(text) {
    this.#set("warn", text, null, ["Close", () => this.#set(null)]);
  }

  #waiting(retryAt, planned) {
    const text = planned ? "The server is restarting." : "No connection.";
    const left = h("span", { class: "countdown", "aria-hidden": "true" });
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
      left.textContent = seconds ? `Trying again in ${seconds} s` : "Trying again…";
    };
    tick();
    this.#ticker = setInterval(tick, 500);
    this.#set("warn", text, left, planned ? null : ["Try now", this.#on.onRetry]);
  }

  #stopped(reason) {
    if (reason === "closed") return;
    if (reason === "kicked") {
      this.#set("warn", "This account is in use in another window.", null, [
        "Use it here",
        this.#on.onTakeOver,
      ]);
    } else if (reason === "unauthorized" || reason === "token_expired") {
      this.#set("bad", "You are signed out.", null, ["Sign in again", this.#on.onLeave]);
    } else {
      this.#set("bad", "The connection has failed.", null, ["Connect again", this.#on.onTakeOver]);
    }
  }

  #set(kind, text, more = null, action = null) {
    this.root.hidden = kind === null;
    this.root.className = `banner ${kind ?? ""}`;
    if (kind === null) {
      this.root.replaceChildren();
      return;
    }
    const [label, click] = action ?? [];
    this.root.replaceChildren(
      h("span", { class: "banner-text", text }),
      ...(more ? [more] : []),
      ...(action
        ? [h("button", { class: "link", type: "button", text: label, on: { click } })]
        : []),
    );
  }
}
