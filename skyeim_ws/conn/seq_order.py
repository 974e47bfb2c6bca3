"""Puts messages of a group that come from several nodes into the order of their seq; pure."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class _GroupOrder(Generic[T]):
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
        self._orders: OrderedDict[str, _GroupOrder[T]] = OrderedDict()

    def held(self, group_id: str) -> int:
        """Count the items of a group that wait for a missing one."""
        order = self._orders.get(group_id)
        return len(order.held) if order else 0

    def admit(self, group_id: str, seq: int, item: T) -> list[T]:
        """Take an item; return what may go on now, in order."""
        order = self._orders.get(group_id)
        if order is None:
            # Nothing is known of what came before: this is where the group begins here.
            order = self._orders[group_id] = _GroupOrder(seq - 1)
            self._forget()
        self._orders.move_to_end(group_id)
        if seq <= order.last:
            return []
        order.held[seq] = item
        ready = []
        while (following := order.held.pop(order.last + 1, None)) is not None:
            order.last += 1
            ready.append(following)
        return ready

    def give_up(self, group_id: str) -> list[T]:
        """Return what was held, in order; what is missing is not waited for any more."""
        order = self._orders.get(group_id)
        if order is None or not order.held:
            return []
        ready = [item for _, item in sorted(order.held.items())]
        order.last = max(order.held)
        order.held.clear()
        return ready

    def _forget(self) -> None:
        while len(self._orders) > self._capacity:
            group_id, order = next(iter(self._orders.items()))
            if order.held:
                self._orders.move_to_end(group_id)
                return
            del self._orders[group_id]
