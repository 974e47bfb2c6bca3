// Elements from plain values: no markup is ever parsed, so no text of a user can become any.

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  back: "M15 5l-7 7 7 7",
  clock: "M12 7.5v5l3 2M20.5 12a8.5 8.5 0 1 1-17 0 8.5 8.5 0 0 1 17 0z",
  sent: "M5 12.5l4.5 4.5L19 7",
  delivered: "M1.5 12.5L6 17l8.5-10M10 15.200l1.8 1.800L20.5 7",
  read: "M1.5 12.500L6 17l8.5-10M10 15.200l1.8 1.800L20.5 7",
  failed: "M12 7.5v5.5M12 16.3v.2M20.5 12a8.5 8.5 0 1 1-17 0 8.5 8.5 0 0 1 17 0z",
  send: "M12 19V5.5M6 11.5l6-6 6 6",
  down: "M6 9.5l6 6 6-6",
  search: "M20 20l-4.5-4.5M17.5 11a6.5 6.5 0 1 1-13 0 6.5 6.5 0 0 1 13 0z",
  close: "M6 6l12 12M18 6L6 18",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  sun: "M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6L7 7M17 17l1.4 1.4M18.4 5.6L17 7" +
    "M7 17l-1.4 1.4M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0z",
  leave:
    "M14 4.5H7A1.5 1.5 0 0 0 5.5 6v12A1.5 1.5 0 0 0 7 19.5h7M10.5 12H21M17.5 8.5L21 12l-3.5 3.5",
  group: "M15.5 9a3.5 3.5 0 1 1-7 0 3.5 3.5 0 0 1 7 0zM5 19.5c.6-3.3 3.5-5 7-5s6.4 1.7 7 5",
  chat: "M4.5 7.5a3 3 0 0 1 3-3h9a3 3 0 0 1 3 3v6a3 3 0 0 1-3 3H12l-4.5 3.5v-3.5a3 3 0 0 1-3-3z",
};

/** Return an element: `class`, `text`, `on` handlers and attributes; false and null are absent. */
export function h(tag, { class: name, text, on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  for (const [event, handler] of Object.entries(on)) element.addEventListener(event, handler);
  if (text !== undefined) element.textContent = text;
  element.append(...children.flat().filter((child) => child !== null && child !== false));
  return element;
}

/** Return a line icon; with a label it is an image for screen readers, else decoration. */
export function icon(name, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Return a button that shows only an icon. */
export function iconButton(name, label, onClick, extra = {}) {
  const { class: more = "", ...rest } = extra;
  const given = { class: `icon-button ${more}`, type: "button", "aria-label": label, title: label };
  return h("button", { ...given, on: { click: onClick }, ...rest }, icon(name));
}
