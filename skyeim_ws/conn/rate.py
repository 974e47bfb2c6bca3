"""A token bucket that tells a client that is too fast from one that floods; pure."""

from enum import Enum, auto


class Verdict(Enum):
    """What to do with a frame."""

    ALLOWED = auto()
    LIMITED = auto()
    FLOODING = auto()


class TokenBucket:
    """`rate` frames per second with bursts of `burst`; a rate of 0 allows everything.

    Refused frames are a debt that must be paid back as well, so a client that goes on at twice
    the rate stays refused, and one whose debt passes another whole burst is flooding.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float) -> Verdict:
        """Count one frame at time `now`, in seconds of any monotonic clock."""
        if not self._rate:
            return Verdict.ALLOWED
        refilled = self._tokens + (now - self._updated) * self._rate
        self._tokens = min(self._burst, refilled) - 1
        self._updated = now
        if self._tokens >= 0:
            return Verdict.ALLOWED
        return Verdict.LIMITED if self._tokens >= -self._burst else Verdict.FLOODING
