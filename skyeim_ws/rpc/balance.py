"""Which of several servers gets the next call: the less loaded of two that are taken at random.

Not the least loaded of all: everybody would rush to the same one at the same time.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

Draw = Callable[[Sequence[T], int], list[T]]
"""Takes that many different items at random, as `random.sample` does."""

DECAY = 10.0
"""Seconds in which a measured time loses most of its weight.

So a server that was slow is asked again after a while, and is measured anew.
"""

LEAST_LATENCY = 0.0001
"""Seconds that a server is taken to need at least, one that has not been measured included.

It bounds the calls that a new server gets before its first answer.
"""


class Load:
    """The calls under way at one server, and how long its calls take: a moving average."""

    __slots__ = ("_latency", "_measured_at", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._latency = 0.0
        self._measured_at = -math.inf

    def begin(self) -> None:
        """Count a call that begins."""
        self.in_flight += 1

    def end(self, seconds: float, now: float) -> None:
        """Count a call that has ended after so many seconds."""
        self.in_flight -= 1
        kept = math.exp(-(now - self._measured_at) / DECAY)
        self._latency = self._latency * kept + seconds * (1 - kept)
        self._measured_at = now

    def cost(self, now: float) -> float:
        """Return about how long another call would have to wait, in seconds."""
        latency = self._latency * math.exp(-(now - self._measured_at) / DECAY)
        return max(latency, LEAST_LATENCY) * (self.in_flight + 1)


def choose(candidates: Sequence[T], cost: Callable[[T], float], draw: Draw[T]) -> T:
    """Return one of the candidates, of which there is at least one."""
    if len(candidates) == 1:
        return candidates[0]
    return min(draw(candidates, 2), key=cost)
