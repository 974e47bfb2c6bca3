// Light or dark: what the system says, until somebody chooses.

import { iconButton } from "./dom.js";

const KEPT = "skyeim.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export function startTheme() {
  const chosen = localStorage.getItem(KEPT);
  if (chosen) document.documentElement.dataset.theme = chosen;
}

function current() {
  return document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
}

/** Return the button that changes it. */
export function themeButton() {
  const button = iconButton(current() === "dark" ? "sun" : "moon", "Switch light and dark", () => {
    const other = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = other;
    localStorage.setItem(KEPT, other);
    button.replaceWith(themeButton());
  });
  return button;
}
