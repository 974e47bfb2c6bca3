"""Takes a node out of service without a crowd at the others, and puts it back into service."""

import asyncio
import random
from collections.abc import Callable

import structlog

from skyeim_ws.config.tree import ShutdownConf
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.waits import until
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.session import Sessions
from skyeim_ws.logic.slots import Slots, slots

log = structlog.get_logger()


_HANDSHAKE_SECONDS = 1.0

_AT_ONCE = 100
"""Clients who leave in one turn of the loop, however late they are."""

_TOGETHER = 0.05
"""Seconds of which those who are to leave do so in one turn: each alone costs twice as much."""


class Drain:
    """Sends the clients of a node away, each in a slot of its own.

    `begin` empties a node that goes on running, until `end`; `stop` empties one for good. `fleet`
    returns how many nodes there are for the clients to go to, `login_rate` how many logins each of
    them takes in a second.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        sessions: Sessions,
        sending: Sending,
        stats: Stats,
        login_rate: Callable[[], float],
        fleet: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._sessions = sessions
        self._sending = sending
        self._stats = stats
        self._login_rate = login_rate
        self._fleet = fleet
        self._leaving: asyncio.Task[None] | None = None
        self.stopping = False
        self.idle = False
        """Whether it is drained, or about to be, and takes nobody until it is told to."""

    def begin(self) -> Slots:
        """Take no more clients, and send away those who are here; return their slots.

        Their number and how long it takes are all that matters of these. Safe to call again: the
        clients who are still here get new slots. Does nothing on a node that stops.
        """
        planned = self._slots(None)
        if self.stopping:
            return planned
        self._forget()
        self.idle = self._sessions.draining = True
        log.info("drain_began", connections=planned.clients, seconds=round(planned.pace, 1))
        self._leaving = asyncio.create_task(self._drained(planned))
        return planned

    def end(self) -> None:
        """Take clients again; those who have not left yet stay. Not on a node that stops."""
        if self.stopping:
            return
        self._forget()
        self.idle = self._sessions.draining = False
        log.info("drain_ended", connections=len(self._hub))

    async def stop(
        self,
        shutdown: ShutdownConf,
        close: Callable[[], None] = lambda: None,
        waiting: Callable[[], int] = lambda: 0,
        *,
        failed: bool = False,
    ) -> None:
        """Empty the node before it stops; `close` closes its ports to users.

        For `pre_stop` nothing but its readiness says so, and clients come and stay, unless it has
        `failed`. Sends under way have `wrap_up_time` to be answered, and the clients `wait_time` to
        leave, of which the second half is left for those who are slow to go. Whom the kernel let in
        just before has a second to get an answer: `waiting` counts who has shown no token.
        """
        self.stopping = True
        await asyncio.sleep(0 if failed else shutdown.pre_stop)
        close()
        self._forget()
        await until(lambda: not self._sending.under_way, shutdown.wrap_up_time)
        self._sessions.draining = True
        ends = asyncio.get_running_loop().time() + shutdown.wait_time
        await self._send_away(self._slots(shutdown.wait_time / 2))
        left = ends - asyncio.get_running_loop().time()
        await until(lambda: not waiting(), min(left, _HANDSHAKE_SECONDS))
        left = ends - asyncio.get_running_loop().time()
        await until(lambda: self._stats.connections_closed >= self._stats.connections_opened, left)

    def _slots(self, longest: float | None) -> Slots:
        fleet = max(1.0, self._fleet())
        return slots(len(self._hub), logins_per_second=self._login_rate() * fleet, longest=longest)

    async def _drained(self, planned: Slots) -> None:
        await self._send_away(planned)
        log.info("drain_done", connections=len(self._hub))

    async def _send_away(self, planned: Slots) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, client in enumerate(list(self._hub)):
            wait = began + planned.leaves_at(number) - loop.time()
            if wait > 0:
                await asyncio.sleep(max(wait, _TOGETHER))
            elif number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            away = planned.away(number, random.random())  # noqa: S311 - spreads load
            self._sessions.send_away(client, away)

    def _forget(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
