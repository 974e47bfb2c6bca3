"""Which of many items may be worked on at once: those of one key follow each other. Pure."""

from collections import deque
from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Place(Generic[T]):
    """An item with the number of items that it waits for, and those that wait for it."""

    __slots__ = ("blockers", "followers", "item", "keys")

    def __init__(self, item: T, keys: Collection[Hashable]) -> None:
        self.item = item
        self.keys = keys
        self.blockers = 0
        self.followers: list[_Place[T]] = []


class KeyedQueue(Generic[T]):
    """Hands out items; one waits until every earlier item that shares a key with it is done."""

    def __init__(self) -> None:
        self._last: dict[Hashable, _Place[T]] = {}
        self._ready: deque[_Place[T]] = deque()
        self._taken: dict[int, _Place[T]] = {}

    def add(self, item: T, keys: Collection[Hashable]) -> None:
        """Queue an item behind all earlier ones of each of its keys."""
        place = _Place(item, keys)
        for key in keys:
            if (previous := self._last.get(key)) is not None:
                previous.followers.append(place)
                place.blockers += 1
            self._last[key] = place
        if place.blockers == 0:
            self._ready.append(place)

    def take(self) -> T | None:
        """Return an item that waits for no other, or None; it is under way until `finish`."""
        if not self._ready:
            return None
        place = self._ready.popleft()
        self._taken[id(place.item)] = place
        return place.item

    def finish(self, item: T) -> None:
        """Note that an item is done; those that waited for it may go on."""
        place = self._taken.pop(id(item))
        for key in place.keys:
            if self._last.get(key) is place:
                del self._last[key]
        for follower in place.followers:
            follower.blockers -= 1
            if follower.blockers == 0:
                self._ready.append(follower)

    def __len__(self) -> int:
        """Count the keys in use."""
        return len(self._last)
