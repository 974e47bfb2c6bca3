"""How long things take: counted in buckets, and logged where it was too long."""

from bisect import bisect_left
from collections.abc import Sequence

import structlog

from skyeim_ws.contract.names import SLOW_LOG

log = structlog.get_logger(SLOW_LOG)

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds; the last bucket has no bound."""


def duration(seconds: float) -> str:
    """Return a time as go-zero's logs write it: milliseconds, such as `12.3ms`."""
    return f"{seconds * 1000:.1f}ms"


class Histogram:
    """How many of something took how long, since the start."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one that took so long."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Timings:
    """The histograms of a process, by event and label; what takes `slow_after` is logged, 0: never.

    The events are those of the log, `slow_<what>`, and the labels are few, such as methods.
    """

    def __init__(self, slow_after: float = 0.0) -> None:
        self.histograms: dict[tuple[str, str], Histogram] = {}
        self._slow_after = slow_after

    def note(self, event: str, seconds: float, label: str = "", **fields: object) -> None:
        """Count what has taken so long, and log it if that is too long."""
        key = (event, label)
        histogram = self.histograms.get(key)
        if histogram is None:
            histogram = self.histograms[key] = Histogram()
        histogram.add(seconds)
        if self._slow_after and seconds >= self._slow_after:
            log.warning(event, duration=duration(seconds), **fields)


def quantile(buckets: Sequence[int], share: float) -> float:
    """Return the seconds in which that share was done, as far as the buckets tell; 0 of none."""
    wanted = share * sum(buckets)
    below = 0
    for position, count in enumerate(buckets):
        if count and below + count >= wanted:
            low = BOUNDS[position - 1] if position else 0.0
            high = BOUNDS[position] if position < len(BOUNDS) else low
            return low + (high - low) * (wanted - below) / count
        below += count
    return 0.0
