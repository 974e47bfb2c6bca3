"""How many logins a node can take in a second: measured whenever there are too many."""

import asyncio
import time
from collections import deque
from statistics import median

from skyeim_ws.conn.stats import Stats
from skyeim_ws.logic.tasks import Tasks

INTERVAL = 0.5
"""Seconds between two looks."""

_SHARE = 3
"""A node takes a third of what it can, besides its work."""

_SLOWEST = 4
"""So many times slower than configured it never is: what was measured may have been other work."""

_CROWD = 8
"""Logins under way at which there are too many."""

_LEAST = 20
"""Logins in a window that says something."""

_BUSY = 0.8
"""The part of a core from which on it is the CPU that they wait for."""

_WINDOWS = 9


class LoginRate:
    """Gives the logins in a second that a node can take besides its work.

    It is what is `configured`, until it was seen how many a node takes that has too many at once.
    """

    def __init__(self, stats: Stats, configured: float) -> None:
        self._stats = stats
        self._done = stats.timings.histogram("slow_login")
        self._configured = configured
        self._measured: deque[float] = deque(maxlen=_WINDOWS)
        self._last = (0.0, 0.0, 0)
        self._crowded = False

    def __call__(self) -> float:
        """Return it."""
        if not self._measured:
            return self._configured
        return max(median(self._measured) / _SHARE, self._configured / _SLOWEST)

    def look(self, now: float, cpu: float) -> None:
        """Measure what was done since the last look; both are in seconds, `cpu` of the process."""
        done = sum(self._done.buckets)
        then, cpu_then, done_then = self._last
        self._last = now, cpu, done
        seconds, logins = max(now - then, 1e-3), done - done_then
        was_crowded = self._crowded
        self._crowded = self._stats.connections_opened - done >= _CROWD
        busy = cpu - cpu_then >= _BUSY * seconds
        if was_crowded and self._crowded and busy and logins >= _LEAST:
            self._measured.append(logins / seconds)

    async def watch(self) -> None:
        """Look all the time, for good."""
        while True:
            self.look(time.monotonic(), time.process_time())
            await asyncio.sleep(INTERVAL)


def measured_login_rate(stats: Stats, configured: float, tasks: Tasks) -> LoginRate:
    """Return the rate, which a task goes on measuring."""
    result = LoginRate(stats, configured)
    tasks.spawn(result.watch())
    return result
