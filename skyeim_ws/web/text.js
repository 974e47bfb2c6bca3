// How things read: names, times, previews, links.

import { h } from "./dom.js";

const LINK = /https?:\/\/[^\s<>"]+/g;
const TAIL = /[.,;:!?)\]}'"]+$/;
const KINDS = { 2: "Picture", 3: "File", 4: "Voice message", 5: "Video" };
const EMOJI =
  /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}\u{fe0f}\u{200d}]+$/u;
const COLOURS = 8;

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const shortWeekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** Return what a reader takes for single characters: an emoji of a family is one. */
function characters(text) {
  if (!Intl.Segmenter) return [...text];
  const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text);
  return Array.from(segments, ({ segment }) => segment);
}

/** Return up to two letters that stand for a name; one where letters join, and of pictures. */
export function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const first = words.length ? characters(words[0])[0] : "";
  const last = words.length > 1 ? characters(words[words.length - 1])[0] : "";
  if (/\d/.test(first + last)) return name.replace(/\D/g, "").slice(-2);
  const two = [first, last].every((letter) => /^[\p{Lu}\p{Ll}]/u.test(letter));
  return (two ? first + last : first).toUpperCase();
}

/** Tell whether a message is one to three emoji and nothing else. */
export function isEmoji({ content, contentType }) {
  const text = content.replace(/\s/g, "");
  return contentType < 2 && text.length < 60 && EMOJI.test(text) && characters(text).length < 4;
}

/** Return a number from 0 to 7 that is always the same for a key. */
export function colourOf(key) {
  let hash = 0x811c9dc5;
  for (const character of String(key)) hash = Math.imul(hash ^ character.codePointAt(0), 31);
  return ((hash ^ (hash >>> 16)) >>> 0) % COLOURS;
}

export function avatar(name, key, extra = {}) {
  const { class: more = "", ...rest } = extra;
  const classes = `avatar colour-${colourOf(key)} ${more}`;
  return h("span", { class: classes, "aria-hidden": "true", text: initials(name), ...rest });
}

export function timeOf(seconds) {
  return clock.format(seconds * 1000);
}

function dayOf(seconds) {
  return new Date(seconds * 1000).setHours(0, 0, 0, 0);
}

export function sameDay(one, other) {
  return dayOf(one) === dayOf(other);
}

function daysAgo(seconds) {
  return Math.round((new Date().setHours(0, 0, 0, 0) - dayOf(seconds)) / 86400000);
}

/** "Today", "Yesterday", "Monday", "3 May 2026". */
export function dayName(seconds) {
  const ago = daysAgo(seconds);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return ago > 1 && ago < 7 ? weekday.format(seconds * 1000) : date.format(seconds * 1000);
}

/** The time of today, else the day, for a list. */
export function briefTime(seconds) {
  const ago = daysAgo(seconds);
  if (ago === 0) return timeOf(seconds);
  if (ago === 1) return "Yesterday";
  return ago > 1 && ago < 7
    ? shortWeekday.format(seconds * 1000)
    : shortDate.format(seconds * 1000);
}

/** One line that stands for a message. */
export function preview({ content, contentType }) {
  return KINDS[contentType] ?? content.replace(/\s+/g, " ").slice(0, 200);
}

/** The content of a message as nodes, with its links. */
export function contentNodes({ content, contentType }) {
  const label = KINDS[contentType];
  const nodes = label ? [h("span", { class: "kind", text: label }), " "] : [];
  let from = 0;
  for (const { 0: found, index } of content.matchAll(LINK)) {
    const url = found.replace(TAIL, "");
    nodes.push(
      content.slice(from, index),
      h("a", {
        href: url,
        target: "_blank",
        rel: "noopener noreferrer",
        text: url,
      }),
    );
    from = index + url.length;
  }
  nodes.push(content.slice(from));
  return nodes;
}

export function listOf(names) {
  return new Intl.ListFormat("en").format(names);
}
