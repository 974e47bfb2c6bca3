"""Which of the other nodes are silent for too long, by one's own clock; pure."""

from collections.abc import Mapping

_LONGEST_STEP = 1.5
"""So many times the usual pause between two looks counts at most. What a node did not see because
it stood still itself, perhaps with all others, is no silence of theirs."""


class Leases:
    """Compares the signs of life of nodes with those of the last look.

    Times are monotonic seconds. A sign is any value that changes: how old it is by another clock
    does not matter.
    """

    def __init__(self, *, pause: float, dead_after: float) -> None:
        self._longest = _LONGEST_STEP * pause
        self._dead_after = dead_after
        self._last: float | None = None
        # Each node: its sign of life, and for how long it was seen not to change.
        self._silent: dict[bytes, tuple[bytes, float]] = {}

    def look(self, now: float, signs: Mapping[bytes, bytes]) -> list[bytes]:
        """Return the nodes that are dead, given the signs of life of all."""
        step = 0.0 if self._last is None else min(now - self._last, self._longest)
        self._last = now
        before = self._silent
        self._silent = {
            node: (sign, before[node][1] + step)
            if node in before and before[node][0] == sign
            else (sign, 0.0)
            for node, sign in signs.items()
        }
        return [node for node, (_, silent) in self._silent.items() if silent >= self._dead_after]

    def forget(self) -> None:
        """Begin anew: after an outage of Redis all nodes were silent, and nobody has died."""
        self._last = None
        self._silent.clear()
