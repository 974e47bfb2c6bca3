"""Whether a method that keeps failing is called at all: throttling on the client's side.

After "Handling Overload" in Google's Site Reliability Engineering, as go-zero has it: the accepted
calls of a window allow for `K` times as many, and what was called beyond that is the probability of
being refused now. Unlike there, calls refused here do not count: they say nothing about the server,
and so one that has healed serves everybody after one window at the latest.
"""

from collections import deque
from collections.abc import Callable

WINDOW = 10.0
"""Seconds of the past that count."""

K = 1.5
GRACE = 5
"""So many failures in a window have no consequence."""

_BUCKETS = 20


class Breaker:
    """The calls of one method. `clock` gives seconds, `draw` a number from 0 to below 1."""

    def __init__(self, clock: Callable[[], float], draw: Callable[[], float]) -> None:
        self.refused = 0
        self._clock = clock
        self._draw = draw
        self._refused_at = -WINDOW
        # Start of a part of the window, calls, accepted calls.
        self._buckets: deque[tuple[float, int, int]] = deque()
        self.calls = 0
        self.accepted = 0

    @property
    def is_open(self) -> bool:
        """Tell whether a call was refused within the window."""
        return self._clock() - self._refused_at < WINDOW

    @property
    def surplus(self) -> float:
        """Return how many calls there were beyond those that have no consequence."""
        return self.calls - GRACE - K * self.accepted

    def allows(self) -> bool:
        """Tell whether a call may be made now."""
        now = self._clock()
        self._forget(now)
        surplus = self.surplus
        if surplus <= 0 or self._draw() >= surplus / (self.calls + 1):
            return True
        self.refused += 1
        self._refused_at = now
        return False

    def note(self, *, accepted: bool) -> None:
        """Count a call that was made."""
        now = self._clock()
        start, calls, accepts = now, 0, 0
        if self._buckets and now - self._buckets[-1][0] < WINDOW / _BUCKETS:
            start, calls, accepts = self._buckets.pop()
        else:
            self._forget(now)
        self._buckets.append((start, calls + 1, accepts + accepted))
        self.calls += 1
        self.accepted += accepted

    def _forget(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] >= WINDOW:
            _, calls, accepts = self._buckets.popleft()
            self.calls -= calls
            self.accepted -= accepts
