"""Messages of a group that come over several ways, put into the order of their seq; pure."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class _Lane(Generic[T]):
    __slots__ = ("held", "last")

    def __init__(self, last: int) -> None:
        self.last = last
        self.held: dict[int, T] = {}


class SeqOrder(Generic[T]):
    """Lets items through in ascending seq, each once; holds those before which one is missing.

    An item that comes after a later one was let through is late: it is dropped, and whoever
    wants it fetches it by its seq. What was seen last is remembered for `capacity` groups.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lanes: OrderedDict[str, _Lane[T]] = OrderedDict()

    def held(self, group_id: str) -> int:
        """Count the items of a group that wait for a missing one."""
        lane = self._lanes.get(group_id)
        return len(lane.held) if lane else 0

    def admit(self, group_id: str, seq: int, item: T) -> list[T]:
        """Take an item; return what may go on now, in order."""
        lane = self._lanes.get(group_id)
        if lane is None:
            # Nothing is known of what came before: this is where the group begins here.
            lane = self._lanes[group_id] = _Lane(seq - 1)
            self._forget()
        self._lanes.move_to_end(group_id)
        if seq <= lane.last:
            return []
        lane.held[seq] = item
        ready = []
        while (following := lane.held.pop(lane.last + 1, None)) is not None:
            lane.last += 1
            ready.append(following)
        return ready

    def give_up(self, group_id: str) -> list[T]:
        """Return what was held, in order; what is missing is not waited for any more."""
        lane = self._lanes.get(group_id)
        if lane is None or not lane.held:
            return []
        ready = [item for _, item in sorted(lane.held.items())]
        lane.last = max(lane.held)
        lane.held.clear()
        return ready

    def _forget(self) -> None:
        while len(self._lanes) > self._capacity:
            group_id, lane = next(iter(self._lanes.items()))
            if lane.held:
                self._lanes.move_to_end(group_id)
                return
            del self._lanes[group_id]
