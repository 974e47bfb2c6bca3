"""One task for the pings, timeouts and confirmations of all connections."""

import asyncio

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.limits import Limits
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Text

log = structlog.get_logger()

_MAX_TICK = 1.0
"""Seconds; how late a ping or a timeout may be noticed."""

_AT_ONCE, _PAUSE = 50, 0.005
"""Connections of one sweep, and seconds until the next one if there are more: 100,000 of them are
pinged evenly, not in a burst each second, before which everybody else would wait."""

_LATE_TICKS = 2
"""A sweep that is late by more ticks tells of a standstill of the process."""


class Heartbeat:
    """Looks at the connections whose time has come.

    Each has its own phase, so pings are spread over the interval. While this process stands
    still, stopped or blocked, nobody is silent.
    """

    def __init__(self, context: ClientContext[Client]) -> None:
        self._context = context
        self._tick = tick_seconds(context.limits)
        self._swept = context.clock()
        self._late = 0.0

    @property
    def lag(self) -> float:
        """Return how many seconds the loop is late, or was in the last sweeps."""
        return max(self._context.clock() - self._swept - self._tick, self._late)

    async def run(self) -> None:
        """Sweep, for good."""
        more = False
        while True:
            await asyncio.sleep(_PAUSE if more else self._tick)
            more = self.sweep()

    def sweep(self) -> bool:
        """Check the connections that are due; return whether there may be more of them."""
        now = self._context.clock()
        stalled = now - self._swept - self._tick
        self._swept = now
        self._late = max(stalled, self._late / 2)
        if stalled > _LATE_TICKS * self._tick:
            # What came meanwhile lies in the kernel, and is read before the next sweep.
            self._grant(stalled, now)
            return False
        due = self._context.timer_wheel.take(now, _AT_ONCE)
        for client in due:
            try:
                check(client, now)
            except Exception:  # a fault with one must not cost the others their heartbeat
                log.exception("heartbeat_failed", user=client.user_id, conn=client.conn_id)
                client.disconnect(CloseCode.INTERNAL_ERROR, Text.INTERNAL_ERROR())
        if len(due) == _AT_ONCE:
            return True
        # Sending the ping takes a connection out of the set; one for which it is still too
        # early puts itself back.
        waiting = list(self._context.awaiting_confirmation)
        self._context.awaiting_confirmation.clear()
        for client in waiting:
            client.request_flush()
        return False

    def _grant(self, seconds: float, now: float) -> None:
        """Do not count a standstill of this process as silence of the clients."""
        log.warning("stalled", seconds=round(seconds, 1))
        for client in self._context.timer_wheel:
            client.last_seen = min(now, client.last_seen + seconds)


def check(client: Client, now: float) -> None:
    """Ping a client if it is time, close its connection if it or its token is dead.

    The caller has taken the client out of the timer wheel, since its `next_check` has passed.
    """
    limits = client.context.limits
    if client.reading_paused:
        client.last_seen = now
    if now - client.last_seen >= limits.pong_timeout:
        client.context.stats.heartbeat_timeouts += 1
        client.disconnect(CloseCode.HEARTBEAT_TIMEOUT, Text.HEARTBEAT_TIMEOUT())
    elif now >= client.expires_at:
        client.disconnect(CloseCode.TOKEN_EXPIRED, Text.TOKEN_ENDED())
    elif now >= client.next_ping:
        client.next_ping = now + limits.ping_interval
        client.put_ping(now)
    if client.state < State.DRAINING:
        dead_at = client.last_seen + limits.pong_timeout
        client.next_check = min(client.next_ping, dead_at, client.expires_at)
        client.context.timer_wheel.add(client)


def tick_seconds(limits: Limits) -> float:
    """Return how often to sweep: often enough for the shortest of the configured times."""
    shortest = min(limits.ping_interval, limits.pong_timeout) / 4
    return min(_MAX_TICK, shortest, limits.confirm_interval)
