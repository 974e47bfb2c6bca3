// Who is it: a demo user to choose, where there are any, or a token to type in.

import { h, icon } from "./dom.js";
import { avatar } from "./text.js";
import { themeButton } from "./theme.js";

/** Return the demo users with their tokens; null where this is no demo. */
export async function demoUsers() {
  const answer = await fetch("demo/users", { headers: { Accept: "application/json" } });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return (await answer.json()).data.list;
}

/** Show the first page until somebody has chosen; resolves with `{userId, name, token}`. */
export function signIn(app, users) {
  return new Promise((resolve) => {
    app.replaceChildren(
      h(
        "main",
        { class: "signin" },
        h("div", { class: "signin-theme" }, themeButton()),
        h(
          "div",
          { class: "card" },
          h("div", { class: "logo" }, icon("chat")),
          h("h1", { text: "SkyeIM" }),
          users ? demoChoice(users, resolve) : tokenForm(resolve),
        ),
      ),
    );
  });
}

function demoChoice(users, resolve) {
  return [
    h("p", { class: "lead", text: "Choose who you want to be." }),
    h(
      "ul",
      { class: "choices" },
      users.map((user) =>
        h(
          "li",
          {},
          h(
            "button",
            { class: "choice", type: "button", on: { click: () => resolve(user) } },
            avatar(user.name, `u${user.userId}`),
            h("span", { class: "choice-name", text: user.name }),
            h("span", { class: "choice-id", text: String(user.userId) }),
          ),
        ),
      ),
    ),
    h("p", {
      class: "hint",
      text: "Open a second window, choose somebody else, and chat with yourself.",
    }),
  ];
}

function tokenForm(resolve) {
  const field = h("input", {
    class: "field",
    id: "token",
    name: "token",
    type: "password",
    autocomplete: "off",
    required: "",
    spellcheck: "false",
  });
  const submit = (event) => {
    event.preventDefault();
    const token = field.value.trim();
    if (token) resolve({ userId: null, name: nameIn(token), token, typed: true });
  };
  return h(
    "form",
    { class: "token-form", on: { submit } },
    h("label", { for: "token", text: "Access token" }),
    field,
    h("button", { class: "primary", type: "submit", text: "Sign in" }),
    h("p", { class: "hint", text: "Your SkyeIM account gives you one." }),
  );
}

/** Return the name that a token has for its user; null if it has none. */
function nameIn(token) {
  try {
    const claims = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(claims), (character) => character.codePointAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).username || null;
  } catch {
    return null;
  }
}
