"""The life of a connection: token, handshake, heartbeat, loss, and when to try again."""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from skyeim_ws.client.effects import Drop, Effect, Emit, GetToken, Open, frame
from skyeim_ws.client.events import Problem, State, StateChanged
from skyeim_ws.client.rules import (
    ABNORMAL,
    UNAUTHORIZED,
    Random,
    SkyeError,
    after_close,
    backoff,
    expiry_of,
)

OPEN_DEADLINE = 15.0
"""Seconds until `connected` must have come."""

SETTLED = 10.0
"""Seconds after which a connection counts as a good one."""

RENEW_BEFORE = 60.0
"""Seconds before the token expires."""

RENEW_AGAIN = 10.0

SHORTEST_RENEWAL = 0.1
"""Seconds between two, whatever tokens an application gives."""


class _Timer(Enum):
    OPEN = auto()
    PING = auto()
    PONG = auto()
    RENEW = auto()
    RETRY = auto()


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client keeps its connection; times in seconds."""

    ping_interval: float = 25.0
    pong_timeout: float = 10.0
    fixed_token: bool = False
    random: Random = random.random
    wall: Callable[[], float] = time.time
    """The clock of tokens, in Unix seconds; all else goes by the `now` that is passed."""


@dataclass(slots=True)
class Life:
    """One connection after the other; what is to be done goes into `effects`.

    `ended` is called when a connection has ended.
    """

    settings: Settings
    effects: list[Effect]
    ended: Callable[[], None]
    state: State = State.IDLE
    reason: str = ""  # why it has stopped
    _timers: dict[_Timer, float] = field(default_factory=dict)
    _token: str = ""
    _fresh_token: bool = False
    _attempt: int = 0
    _opened_at: float = 0.0
    _server_time: float = 0.0  # Unix time then: the clock of this machine may be wrong
    _told: bool = False  # the server has said when to come back

    @property
    def open(self) -> bool:
        """Whether frames may be written."""
        return self.state is State.OPEN

    def start(self, now: float) -> None:
        """Begin, or begin again after a stop."""
        if self.state in (State.IDLE, State.STOPPED):
            self._attempt = 0
            self._ask_token(now)

    def stop(self, reason: str) -> None:
        """End for good."""
        if self.state is not State.STOPPED:
            self._end()
            self.effects.append(Drop())
            self._become(State.STOPPED, reason=reason)

    def wake(self, now: float) -> None:
        """Find out at once: the network may be back."""
        if self.state is State.WAITING and not self._told:
            self._attempt = 0
            self._ask_token(now)
        elif self.open:
            self._ping(now)

    def token_is(self, token: str, query: Mapping[str, str], now: float) -> None:
        """Take the token: for the next connection, or to be renewed on this one."""
        self._token = token
        if self.state is State.TOKEN:
            self._fresh_token = False
            self._become(State.CONNECTING)
            self._timers[_Timer.OPEN] = now + OPEN_DEADLINE
            self.effects.append(Open(query, token))
        elif self.open:
            self.effects.append(frame("token", {"token": token}))

    def token_failed(self, error: SkyeError, now: float) -> None:
        """Note that no token could be got; it is tried again."""
        self.effects.append(Emit(Problem(error.code, str(error))))
        if self.state is State.TOKEN:
            self._wait(backoff(self._attempt, self.settings.random), False, now)

    def connected(self, server_time: float, now: float) -> None:
        """Take `connected`; `server_time` is that of the server in Unix seconds, 0 if unknown."""
        self._timers.clear()
        self._opened_at = now
        # A second is not told whole: rather renew too early.
        self._server_time = server_time + 1 if server_time else self.settings.wall()
        self._timers[_Timer.PING] = now + self.settings.ping_interval
        expiry = expiry_of(self._token)
        if expiry is not None:
            self.renewed(expiry, now)
        self._become(State.OPEN)

    def renewed(self, expires_at: float, now: float) -> None:
        """Note until when, in Unix seconds, the token on this connection is good."""
        if not self.settings.fixed_token:
            left = expires_at - self._server_time - (now - self._opened_at)
            # A token that lives for less than two minutes is renewed at half of its time.
            pause = left - min(RENEW_BEFORE, left / 2)
            self._timers[_Timer.RENEW] = now + max(SHORTEST_RENEWAL, pause)

    def cannot_renew(self) -> None:
        """Expect 4003: the server does not know `token`; the next one is for reconnecting."""
        self._timers.pop(_Timer.RENEW, None)

    def heard(self) -> None:
        """Note that something came: the other side lives."""
        self._timers.pop(_Timer.PONG, None)

    def closed(self, code: int, reason: str, now: float) -> None:
        """Note that the connection has ended, or was refused with the HTTP status `code`."""
        if self.state is not State.CONNECTING and not self.open:
            return
        if self.open and now - self._opened_at >= SETTLED:
            self._attempt = 0
        after = after_close(code, reason, self._attempt, self.settings.random)
        final = after.final
        if after.fresh_token and self.settings.fixed_token:
            final = "unauthorized" if code == UNAUTHORIZED else "token_expired"
        self._end()
        if final:
            self._become(State.STOPPED, code=code, reason=final)
            return
        self._fresh_token = self._fresh_token or after.fresh_token
        self._wait(after.wait, after.told, now, code, reason)

    def deadline(self) -> float:
        """Return when `tick` wants to be called; infinity for never."""
        return min(self._timers.values(), default=math.inf)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for name, at in list(self._timers.items()):
            if now >= at and self._timers.get(name) == at:
                del self._timers[name]
                self._elapsed(name, now, late=now - at)

    def _elapsed(self, name: _Timer, now: float, late: float) -> None:
        match name:
            case _Timer.RETRY:
                self._ask_token(now)
            case _Timer.OPEN:
                self._give_up("no answer to the handshake", now)
            case _Timer.PING:
                self._ping(now)
            case _Timer.PONG if late > self.settings.pong_timeout / 2:
                # A machine that slept has not had the time to read the answer.
                self._ping(now)
            case _Timer.PONG:
                self._give_up("no answer to a ping", now)
            case _Timer.RENEW:
                self._timers[_Timer.RENEW] = now + RENEW_AGAIN
                self.effects.append(GetToken(fresh=True))

    def _ask_token(self, now: float) -> None:
        self._timers.clear()
        self._told = False
        self._become(State.TOKEN)
        expiry = expiry_of(self._token)
        old = expiry is not None and expiry < self.settings.wall() + RENEW_BEFORE / 2
        self.effects.append(GetToken(fresh=self._fresh_token or old))

    def _ping(self, now: float) -> None:
        self.effects.append(frame("ping", {}))
        self._timers[_Timer.PING] = now + self.settings.ping_interval
        self._timers.setdefault(_Timer.PONG, now + self.settings.pong_timeout)

    def _give_up(self, reason: str, now: float) -> None:
        self.effects.append(Drop())
        self.closed(ABNORMAL, reason, now)

    def _wait(
        self, pause: float, told: bool, now: float, code: int | None = None, reason: str = ""
    ) -> None:
        self._attempt += 1
        self._told = told
        self._timers[_Timer.RETRY] = now + pause
        self._become(State.WAITING, code=code, reason=reason, retry_in=pause)

    def _end(self) -> None:
        self._timers.clear()
        self.ended()

    def _become(
        self,
        state: State,
        code: int | None = None,
        reason: str | None = None,
        retry_in: float | None = None,
    ) -> None:
        self.state = state
        self.reason = (reason or "") if state is State.STOPPED else ""
        self.effects.append(Emit(StateChanged(state, code, reason, retry_in)))
