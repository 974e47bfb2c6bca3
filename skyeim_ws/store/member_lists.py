"""The lists of members that a node keeps: bounded, and seconds old where they are large; pure."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

CAPACITY = 10_000
"""Groups; when there are more, the least recently used one leaves."""

CAPACITY_MEMBERS = 2_000_000
"""Members, over all groups but the one used last; each takes some 75 bytes."""

LARGE = 10_000
"""Members of a group whose list is not read anew at each change, but for a tenth of the time."""

SPARED, LARGE_TTL = 9.0, 5.0
"""A large list that has changed is used for so many times as long as it took to find it, and for no
more than so many seconds."""


class MemberList(NamedTuple):
    """Who is in a group, until when that is good, and how many seconds it took to find out.

    `asked`: it came from the service itself.
    """

    members: frozenset[int]
    until: float
    asked: bool
    took: float = 0.0

    @property
    def large(self) -> bool:
        """Whether it costs too much to be read at each change."""
        return len(self.members) > LARGE

    def ending(self, now: float, least: float) -> "MemberList":
        """Return the list with an end, in so many seconds at least; a large one is spared."""
        spared = min(SPARED * self.took, LARGE_TTL) if self.large else 0.0
        return self._replace(until=min(self.until, now + max(least, spared)))


class MemberLists:
    """Lists by group; `clock` is that of their ends."""

    def __init__(self, capacity: int, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._clock = clock
        self._lists: OrderedDict[str, MemberList] = OrderedDict()
        self._members = 0

    def find(self, group_id: str) -> MemberList | None:
        """Return the list of a group, if it is still good."""
        kept = self._lists.get(group_id)
        if kept is None:
            return None
        if self._clock() >= kept.until:
            self.forget(group_id)
            return None
        self._lists.move_to_end(group_id)
        return kept

    def keep(self, group_id: str, kept: MemberList) -> None:
        """Keep a list; others may have to make room."""
        self.forget(group_id)
        self._lists[group_id] = kept
        self._members += len(kept.members)
        while len(self._lists) > self._capacity or (
            self._members > CAPACITY_MEMBERS and len(self._lists) > 1
        ):
            self.forget(next(iter(self._lists)))

    def changed(self, group_id: str) -> None:
        """Forget a list that is not true any more, or have it end soon."""
        kept = self._lists.get(group_id)
        if kept is not None and kept.large:
            self._lists[group_id] = kept.ending(self._clock(), 0.0)
        else:
            self.forget(group_id)

    def forget(self, group_id: str) -> None:
        """Forget a list."""
        kept = self._lists.pop(group_id, None)
        if kept is not None:
            self._members -= len(kept.members)

    def clear(self) -> None:
        """Forget all."""
        self._lists.clear()
        self._members = 0
