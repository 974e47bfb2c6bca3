// The life of a connection: token, handshake, heartbeat, loss, and when to try again.

import { encode } from "./json.js";
import { afterClose, backoff, expiryOf } from "./rules.js";

const OPEN_DEADLINE = 15000; // ms until `connected`
const SETTLED = 10000; // ms after which a connection counts as a good one
const RENEW_BEFORE = 60000; // ms before the token expires
const RENEW_AGAIN = 10000;
const SHORTEST_RENEWAL = 100; // ms between two, whatever tokens an application gives

export class Life {
  state = "idle"; // idle, token, connecting, open, waiting, stopped
  #effect;
  #ended;
  #options;
  #random;
  #wall;
  #timers = new Map(); // name -> when
  #token = "";
  #freshToken = false;
  #attempt = 0;
  #openedAt = 0;
  #serverTime = 0; // ms since 1970, at `openedAt`: the clock of this machine may be wrong
  #told = false; // the server has said when to come back

  /** `effect(name, fields)` takes what is to be done, `ended()` hears that a connection ended. */
  constructor({ pingInterval, pongTimeout, fixedToken }, { effect, ended, random, wall }) {
    this.#options = { pingInterval, pongTimeout, fixedToken };
    this.#effect = effect;
    this.#ended = ended;
    this.#random = random;
    this.#wall = wall;
  }

  get open() {
    return this.state === "open";
  }

  start(now) {
    if (this.state !== "idle" && this.state !== "stopped") return;
    this.#attempt = 0;
    this.#askToken(now);
  }

  stop(reason) {
    if (this.state === "stopped") return;
    this.#end();
    this.#effect("drop");
    this.#become("stopped", { reason });
  }

  /** The network may be back, or the page is shown again: find out at once. */
  wake(now) {
    if (this.state === "waiting" && !this.#told) {
      this.#attempt = 0;
      this.#askToken(now);
    } else if (this.open) {
      this.#ping(now);
    }
  }

  /** Take the token: for the next connection, or to be renewed on this one. */
  tokenIs(token, query, now) {
    this.#token = token;
    if (this.state === "token") {
      this.#freshToken = false;
      this.#become("connecting");
      this.#timers.set("open", now + OPEN_DEADLINE);
      this.#effect("open", { query, token });
    } else if (this.open) {
      this.#effect("write", { text: encode("token", { token }) });
    }
  }

  tokenFailed(error, now) {
    this.#effect("emit", { event: "error", data: error });
    if (this.state === "token") this.#wait(backoff(this.#attempt, this.#random), false, now);
  }

  /** The server does not take the token that it was shown. */
  refused() {
    if (this.open) return;
    if (this.#options.fixedToken) this.stop("unauthorized");
    else this.#freshToken = true;
  }

  /** Take `connected`. */
  connected({ userId, connectedAt }, now) {
    this.#timers.clear();
    this.#openedAt = now;
    // A second is not told whole: rather renew too early.
    this.#serverTime = connectedAt > 0 ? (connectedAt + 1) * 1000 : this.#wall();
    this.#timers.set("ping", now + this.#options.pingInterval);
    this.renewed(expiryOf(this.#token), now);
    this.#become("open", { userId });
  }

  /** The token on this connection is good until then, in ms since 1970. */
  renewed(expiresAt, now) {
    if (this.#options.fixedToken || expiresAt === Infinity) return;
    const left = expiresAt - this.#serverTime - (now - this.#openedAt);
    // A token that lives for less than two minutes is renewed at half of its time.
    const pause = left - Math.min(RENEW_BEFORE, left / 2);
    this.#timers.set("renew", now + Math.max(SHORTEST_RENEWAL, pause));
  }

  /** The server cannot renew: it will close with 4003, and the next token is for reconnecting. */
  cannotRenew() {
    this.#timers.delete("renew");
  }

  /** Something came: the other side lives. */
  heard() {
    this.#timers.delete("pong");
  }

  closed(code, reason, now) {
    if (this.state !== "connecting" && !this.open) return;
    const refused = !this.open;
    if (this.open && now - this.#openedAt >= SETTLED) this.#attempt = 0;
    const next = afterClose(code, reason, this.#attempt, this.#random);
    if (next.freshToken && this.#options.fixedToken) next.final = "token_expired";
    this.#end();
    if (next.final) {
      this.#become("stopped", { code, reason: next.final });
      return;
    }
    // A page cannot see a 401: it is a close before the first frame.
    this.#freshToken ||= next.freshToken || refused;
    if (refused) this.#effect("probe", { token: this.#token });
    this.#wait(next.wait, next.told, now, { code, reason });
  }

  deadline() {
    return Math.min(Infinity, ...this.#timers.values());
  }

  tick(now) {
    for (const [name, at] of [...this.#timers]) {
      if (now >= at && this.#timers.get(name) === at) {
        this.#timers.delete(name);
        this.#elapsed(name, now, now - at);
      }
    }
  }

  #elapsed(name, now, late) {
    if (name === "retry") {
      this.#askToken(now);
    } else if (name === "open") {
      this.#giveUp("no answer to the handshake", now);
    } else if (name === "ping") {
      this.#ping(now);
    } else if (name === "pong") {
      // A machine that slept, or a page that was frozen, has not had the time to read the answer.
      if (late > this.#options.pongTimeout / 2) this.#ping(now);
      else this.#giveUp("no answer to a ping", now);
    } else if (name === "renew") {
      this.#timers.set("renew", now + RENEW_AGAIN);
      this.#effect("token", { fresh: true });
    }
  }

  #askToken(now) {
    this.#timers.clear();
    this.#told = false;
    this.#become("token");
    const old = expiryOf(this.#token) < this.#wall() + RENEW_BEFORE / 2;
    const fresh = this.#freshToken || old;
    this.#effect("token", { fresh });
  }

  #ping(now) {
    this.#effect("write", { text: encode("ping", {}) });
    this.#timers.set("ping", now + this.#options.pingInterval);
    if (!this.#timers.has("pong")) this.#timers.set("pong", now + this.#options.pongTimeout);
  }

  #giveUp(reason, now) {
    this.#effect("drop");
    this.closed(1006, reason, now);
  }

  #wait(pause, told, now, detail = {}) {
    this.#attempt += 1;
    this.#told = told;
    this.#timers.set("retry", now + pause);
    this.#become("waiting", { ...detail, retryAt: this.#wall() + pause });
  }

  #end() {
    this.#timers.clear();
    this.#ended();
  }

  #become(state, detail = {}) {
    this.state = state;
    this.#effect("emit", { event: "state", data: { state, ...detail } });
  }
}
