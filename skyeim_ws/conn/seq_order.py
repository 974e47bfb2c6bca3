"""Puts messages of a group that come from several nodes into the order of their seq; pure."""

from collections import OrderedDict
from collections.abc import Collection
from enum import Enum, auto
from typing import Generic, TypeVar

T = TypeVar("T")


class Verdict(Enum):
    """What storage says of an item that did not fit into the order."""

    NOT_STORED = auto()
    AHEAD = auto()
    """It is stored, and further than `max_jump` above the last one."""
    LATE = auto()
    """A later one has been let through."""
    ANEW = auto()
    """The counter of the group was set back: with this item a new order begins."""


class _GroupOrder(Generic[T]):
    __slots__ = ("held", "last", "newest_id")

    def __init__(self, last: int) -> None:
        self.last = last
        self.newest_id = 0
        self.held: dict[int, tuple[int, T]] = {}


class SeqOrder(Generic[T]):
    """Lets items through in ascending seq, each once; holds those before which one is missing.

    An item that comes after a later one was let through is late, or its group's counter was set
    back. One whose seq is more than `max_jump` away from the last would stop all that come in
    between. Such items are not taken before `judge` was asked. What was seen last is remembered for
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

    def admit(self, group_id: str, seq: int, item_id: int, item: T) -> list[T] | None:
        """Take an item; return what may go on now, in order.

        None: it does not fit, and was not taken.
        """
        order = self._orders.get(group_id)
        if order is None:
            # Nothing is known of what came before: this is where the group begins here.
            order = self._orders[group_id] = _GroupOrder(seq - 1)
            self._forget()
        self._orders.move_to_end(group_id)
        if not 0 < seq - order.last <= self._max_jump:
            return None
        order.held[seq] = item_id, item
        return _following(order)

    def judge(
        self, group_id: str, seq: int, item_id: int, stored: Collection[tuple[int, int]]
    ) -> Verdict:
        """Say what an item is that was not taken.

        `stored` has seq and id of messages of the group with this seq, and of some with the last
        one or above, if there are any.

        A lower seq with a newer id alone says little: a service that counts before it stores may
        store the message with the lower seq behind the other. But it gives a seq once, as long as
        nobody sets its counter back.
        """
        order = self._orders.get(group_id)
        if (seq, item_id) not in stored:
            return Verdict.NOT_STORED
        if order is None or seq > order.last:
            return Verdict.AHEAD
        given_again = any(each == seq and other < item_id for each, other in stored)
        if given_again and item_id > order.newest_id:
            return Verdict.ANEW
        # A database from a backup lacks what was let through last.
        return Verdict.LATE if any(each >= order.last for each, _ in stored) else Verdict.ANEW

    def give_up(self, group_id: str) -> list[T]:
        """Return what was held, in order; what is missing is not waited for any more."""
        order = self._orders.get(group_id)
        if order is None or not order.held:
            return []
        ready = [item for _, (_, item) in sorted(order.held.items())]
        order.last = max(order.held)
        order.newest_id = max(order.newest_id, *(item_id for item_id, _ in order.held.values()))
        order.held.clear()
        return ready

    def skip(self, group_id: str, seq: int) -> list[T]:
        """Wait for nothing up to this seq any more; return what may go on now, in order."""
        order = self._orders.get(group_id)
        if order is None or order.last >= seq:
            return []
        ready = []
        for each in sorted(each for each in order.held if each <= seq):
            item_id, item = order.held.pop(each)
            order.newest_id = max(order.newest_id, item_id)
            ready.append(item)
        order.last = seq
        return ready + _following(order)

    def restart(self, group_id: str, seq: int, item_id: int) -> list[T]:
        """Go on with this item, which `judge` has seen, as the next; return what was held."""
        held = self.give_up(group_id)
        order = self._orders.get(group_id)
        if order is not None:
            order.last = seq - 1
            # In a database from a backup ids begin again as well.
            order.newest_id = min(order.newest_id, item_id - 1)
        return held

    def _forget(self) -> None:
        while len(self._orders) > self._capacity:
            group_id, order = next(iter(self._orders.items()))
            if order.held:
                self._orders.move_to_end(group_id)
                return
            del self._orders[group_id]


def _following(order: _GroupOrder[T]) -> list[T]:
    """Take what follows upon the last one without a gap."""
    ready = []
    while (following := order.held.pop(order.last + 1, None)) is not None:
        order.last += 1
        order.newest_id = max(order.newest_id, following[0])
        ready.append(following[1])
    return ready
