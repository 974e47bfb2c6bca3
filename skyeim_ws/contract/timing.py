"""How long things take: counted in buckets, and logged where it was too long."""

from bisect import bisect_left
from collections.abc import Sequence

import structlog

from skyeim_ws.contract.names import SLOW_LOG

log = structlog.get_logger(SLOW_LOG)

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds, unless the event has bounds of its own; the last bucket has no bound."""

SENT, DELIVERED = "sent", "delivered"
"""What a sender waits for, from its frame on."""

BATCH_MESSAGES = "batch_messages"
"""The event whose histogram has messages for seconds."""

_LONG = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
_RPC = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_OWN_BOUNDS = {
    # Those of go-zero, for its dashboards.
    "slow_rpc": _RPC,
    "slow_call": _RPC,
    "slow_http": (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0),
    "slow_redis": (0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, *_LONG),
    BATCH_MESSAGES: (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
}


def duration(seconds: float) -> str:
    """Return a time as go-zero's logs write it: milliseconds, such as `12.3ms`."""
    return f"{seconds * 1000:.1f}ms"


class Histogram:
    """How many of something took how long, since the start.

    What happens to each message counts itself: a call would cost more than the counting.
    """

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one that took so long."""
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def include(self, other: "Histogram") -> None:
        """Count what another one of the same bounds has counted."""
        self.buckets = [own + more for own, more in zip(self.buckets, other.buckets, strict=True)]
        self.total += other.total


class Timings:
    """The histograms of a process, by event and labels.

    What takes `slow_after` seconds is logged, with 0 nothing. The events are those of the log,
    `slow_<what>`, and the labels are few, such as methods.
    """

    def __init__(self, slow_after: float = 0.0) -> None:
        self.histograms: dict[tuple[str, ...], Histogram] = {}
        self._slow_after = slow_after

    def note(self, event: str, seconds: float, *labels: str, **fields: object) -> None:
        """Count what has taken so long, and log it if that is too long."""
        histogram = self.histograms.get((event, *labels))
        if histogram is None:
            histogram = self.histogram(event, *labels)
        histogram.buckets[bisect_left(histogram.bounds, seconds)] += 1
        histogram.total += seconds
        if self._slow_after and seconds >= self._slow_after:
            log.warning(event, duration=duration(seconds), **fields)

    def histogram(self, event: str, *labels: str) -> Histogram:
        """Return the histogram of an event with these labels, which is made for the first one."""
        made = Histogram(_OWN_BOUNDS.get(event, BOUNDS))
        return self.histograms.setdefault((event, *labels), made)

    def summed(self, event: str, labels: int) -> dict[tuple[str, ...], Histogram]:
        """Return the histograms of an event by its first so many labels."""
        found: dict[tuple[str, ...], Histogram] = {}
        for (name, *values), histogram in self.histograms.items():
            if name == event:
                key = tuple(values[:labels])
                found.setdefault(key, Histogram(histogram.bounds)).include(histogram)
        return found


def quantile(histogram: Histogram, share: float) -> float:
    """Return the seconds in which that share was done, as far as the buckets tell; 0 of none."""
    bounds = histogram.bounds
    wanted = share * sum(histogram.buckets)
    below = 0
    for position, count in enumerate(histogram.buckets):
        if count and below + count >= wanted:
            low = bounds[position - 1] if position else 0.0
            high = bounds[position] if position < len(bounds) else low
            return low + (high - low) * (wanted - below) / count
        below += count
    return 0.0
