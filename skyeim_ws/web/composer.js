// The field for the next message: Enter sends, Shift+Enter begins a line; drafts are kept.

import { h, icon } from "./dom.js";
import { MAX_CONTENT } from "./skyeim/skyeim.js";

const WARN = 500; // characters before the limit

export class Composer {
  #on;
  #key = null;
  #drafts = new Map(); // conversation key -> text
  #field;
  #button;
  #left = h("p", { class: "left", role: "status" });

  constructor(on) {
    this.#on = on;
    this.#field = h("textarea", {
      class: "compose-field",
      rows: "1",
      "aria-label": "Message",
      autocomplete: "off",
      enterkeyhint: "send",
      dir: "auto",
      on: { input: () => this.#typed(), keydown: (event) => this.#keyed(event) },
    });
    this.#button = h(
      "button",
      {
        class: "send",
        type: "submit",
        "aria-label": "Send",
        title: "Send",
        disabled: "",
      },
      icon("send"),
    );
    const submit = (event) => {
      event.preventDefault();
      this.#send();
    };
    this.root = h(
      "form",
      { class: "composer", on: { submit } },
      this.#left,
      h("div", { class: "compose-box" }, this.#field, this.#button),
    );
  }

  open(key, title) {
    if (this.#key) this.#drafts.set(this.#key, this.#field.value);
    this.#key = key;
    this.#field.value = this.#drafts.get(key) ?? "";
    this.#field.placeholder = `Message ${title}`;
    this.#resize();
  }

  focus() {
    // A phone would slide its keyboard in.
    if (matchMedia("(pointer: fine)").matches) this.#field.focus();
  }

  #typed() {
    this.#resize();
    if (this.#field.value.trim()) this.#on.onTyping();
  }

  #resize() {
    const field = this.#field;
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, 180)}px`;
    const left = MAX_CONTENT - [...field.value.trim()].length;
    this.#button.disabled = left === MAX_CONTENT || left < 0;
    this.#left.textContent =
      left > WARN ? "" : left < 0 ? `${-left} characters too many` : `${left} characters left`;
    this.#left.classList.toggle("over", left < 0);
  }

  #keyed(event) {
    // While an input method is composing, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const content = this.#field.value.trim();
    if (this.#button.disabled) return;
    this.#field.value = "";
    this.#drafts.delete(this.#key);
    this.#resize();
    this.#on.onSend(content);
    this.#field.focus();
  }
}
