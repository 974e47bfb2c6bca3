"""The connections whose time comes next, so that nobody has to look at all of them; pure."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar

_SLOT_SECONDS = 1.0


class Scheduled(Protocol):
    """What is to be looked at, and when, in seconds on the clock of whoever takes it out."""

    next_check: float


S = TypeVar("S", bound=Scheduled)


class TimerWheel(Generic[S]):
    """Connections in slots of a second by their `next_check`, which must not change in between."""

    def __init__(self) -> None:
        self._slots: defaultdict[int, set[S]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def __iter__(self) -> Iterator[S]:
        return chain.from_iterable(self._slots.values())

    def add(self, client: S) -> None:
        """Enter a connection."""
        self._slots[_slot(client.next_check)].add(client)

    def discard(self, client: S) -> None:
        """Take a connection out, if it is there."""
        slot = _slot(client.next_check)
        if slot in self._slots:
            self._slots[slot].discard(client)

    def take(self, now: float, most: int) -> list[S]:
        """Take out and return those whose time has come, or so many of them."""
        current = _slot(now)
        taken: list[S] = []
        for slot in sorted(slot for slot in self._slots if slot <= current):
            due = (client for client in self._slots[slot] if client.next_check <= now)
            some = list(islice(due, most - len(taken)))
            taken += some
            self._slots[slot].difference_update(some)
            if not self._slots[slot]:
                del self._slots[slot]
        return taken


def _slot(time: float) -> int:
    return int(time // _SLOT_SECONDS)
