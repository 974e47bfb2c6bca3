// A user of the SDK that a test drives: one command per line comes in, one event per line goes out.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [sdk, settings] = process.argv.slice(2);
const { SkyeIM } = await import(pathToFileURL(sdk));
const { tokens, ...options } = JSON.parse(settings);

const say = (event, data) => process.stdout.write(`${JSON.stringify({ event, data })}\n`);
// Node.js 20 has a WebSocket behind a flag; it is passed as an application passes one of its own.
const Given = globalThis.WebSocket;
delete globalThis.WebSocket;

class WebSocket extends Given {
  constructor(...given) {
    super(...given);
    // What the SDK hides from the application, so that a test sees that it was there.
    this.addEventListener("message", ({ data: text }) => {
      if (!/^{"type":"(ack|group_behind)"/.test(text)) return;
      const { type, data } = JSON.parse(text);
      if (type === "group_behind") say("group_behind", data);
      else if (data.status === "failed") say("refused", data);
    });
  }
}

// What applications give by mistake, by the name of the mistake.
const mistakes = {
  "!throws": () => {
    throw new Error("no network");
  },
  "!never": () => new Promise(() => {}),
  "!nothing": () => undefined,
  "!lines": () => "two\r\nlines",
  "!cancelled": () => Promise.reject(new DOMException("gone", "AbortError")),
};
const fresh = () => {
  const token = tokens.length > 1 ? tokens.shift() : tokens[0];
  say("asked", {});
  return token in mistakes ? mistakes[token]() : token;
};
const client = new SkyeIM({ ...options, WebSocket, token: options.fixed ? tokens[0] : fresh });

for (const name of [
  "state",
  "connected",
  "message",
  "sent",
  "failed",
  "delivered",
  "read",
  "typing",
  "presence",
  "group_lost",
  "kicked",
  "event",
  "error",
]) {
  client.on(name, (data) => say(name, data));
}

const commands = {
  connect: () => client.connect(),
  retry: () => client.retry(),
  // Somebody sets the clock of the machine.
  clock: ({ ahead }) => {
    const now = Date.now;
    Date.now = () => now() + ahead;
  },
  send: (draft) => client.send(draft),
  read: ({ peerId, msgIds }) => client.read(peerId, msgIds),
  typing: (target) => client.typing(target),
  watch: ({ userIds }) => client.watch(userIds),
  follow: ({ groupId, seq }) => client.follow(groupId, seq),
  snapshot: () => client.snapshot(),
  api: ({ call, query }) => client.api[call](query),
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { id, name, data } = JSON.parse(line);
    try {
      say("answer", { id, result: await commands[name](data) });
    } catch (error) {
      say("answer", { id, reason: error.reason ?? String(error), code: error.code });
    }
  })
  .on("close", () => client.close());
