"""One PeriodicCallback for the pings, timeouts and confirmations of all connections."""

from collections.abc import Iterator
from contextlib import contextmanager

from tornado.ioloop import PeriodicCallback

from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.limits import Limits

_MAX_TICK = 1.0
"""Seconds; how late a ping or a timeout may be noticed."""


class Heartbeat:
    """Sweeps the connections; each has its own phase, so pings are spread over the interval."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context
        self._callback = PeriodicCallback(self.sweep, 1000 * tick_seconds(context.limits))

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Sweep on the current IOLoop."""
        self._callback.start()
        try:
            yield
        finally:
            self._callback.stop()

    def sweep(self) -> None:
        """Check every connection that is due."""
        now = self._context.clock()
        for client in self._context.timetable.take(now):
            client.check(now)
        # Sending the ping takes a connection out of the set; one for which it is still too
        # early puts itself back.
        waiting = list(self._context.awaiting_confirmation)
        self._context.awaiting_confirmation.clear()
        for client in waiting:
            client.request_confirmation()


def tick_seconds(limits: Limits) -> float:
    """Return how often to sweep: often enough for the shortest of the configured times."""
    shortest = min(limits.ping_interval, limits.pong_timeout) / 4
    return min(_MAX_TICK, shortest, limits.confirm_interval)
