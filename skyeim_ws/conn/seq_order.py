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
    wants it fetches it by its seq. One whose seq is more than `max_jump` away from the last is not
    believed: it would stop all that come in between. What was seen last is remembered for
    `capacity` groups.
    """

    def __init__(self, capacity: int, max_jump: int) -> None:
        self._capacity = capacity
        self._max_jump = max_jump
        self._orders: OrderedDict[str, _GroupOrder[T]] = OrderedDict()

    def held(self, group_id: str) -> int:
        """Count the items of a group that wait for a missing one."""
        order = self._orders.get(group_id)
        return len(order.held) if order else 0

    def last(self, group_id: str) -> int:
        """Return the seq that was let through last, 0 if none is known."""
        order = self._orders.get(group_id)
        return order.last if order else 0

    def restart(self, group_id: str, last: int) -> None:
        """Go on behind this seq; what was held is dropped."""
        self._orders[group_id] = _GroupOrder(last)
        self._orders.move_to_end(group_id)
        self._forget()

    def admit(self, group_id: str, seq: int, item: T) -> list[T] | None:
        """Take an item; return what may go on now, in order.

        None: its seq is not believed, and it was not taken.
        """
        order = self._orders.get(group_id)
        if order is None:
            # Nothing is known of what came before: this is where the group begins here.
            order = self._orders[group_id] = _GroupOrder(seq - 1)
            self._forget()
        self._orders.move_to_end(group_id)
        if abs(seq - order.last) > self._max_jump:
            return None
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
