// The start of the page: who is it, and from then on the chat.

import { Chat } from "./chat.js";
import { h } from "./dom.js";
import { demoUsers, signIn } from "./signin.js";
import { startTheme } from "./theme.js";

const KEPT = "skyeim.user"; // in this tab alone: another one may be somebody else

async function main() {
  startTheme();
  const app = document.getElementById("app");
  const users = await demoUsers();
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  const user = kept ?? (await signIn(app, users));
  sessionStorage.setItem(KEPT, JSON.stringify(user));
  const chat = new Chat({
    user,
    names: users ?? [],
    token: tokenOf(user, users !== null),
    onLeave,
  });
  app.replaceChildren(chat.root);
  await chat.start();
}

/** A demo user gets a fresh token each time; another one has the token that was typed in. */
function tokenOf(user, demo) {
  if (!demo || user.typed) return user.token;
  return async () => {
    const users = await demoUsers();
    return users?.find(({ userId }) => userId === user.userId)?.token ?? user.token;
  };
}

function onLeave() {
  sessionStorage.clear();
  location.replace(location.pathname);
}

main().catch((error) => {
  const text = `The chat cannot start: ${error.message}`;
  document.getElementById("app").replaceChildren(h("p", { class: "notice", role: "alert", text }));
});
