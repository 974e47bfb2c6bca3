"""Remembers for some seconds who was found in a group, and who was refused; pure."""

from collections import OrderedDict
from typing import NamedTuple

from skyeim_ws.contract.codes import Reason


class Seat(NamedTuple):
    """What was found, until some time; `refused` is None for a member."""

    refused: Reason | None
    until: float


class Seats:
    """Bounded: beyond `capacity` answers the group that was asked about first makes room."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._groups: OrderedDict[str, dict[int, Seat]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Count what is remembered."""
        return self._count

    def find(self, group_id: str, user_id: int, now: float) -> Seat | None:
        """Return what is known of a user in a group."""
        users = self._groups.get(group_id)
        seat = users.get(user_id) if users else None
        return seat if seat is not None and now < seat.until else None

    def put(self, group_id: str, user_id: int, seat: Seat) -> None:
        """Remember what was found."""
        users = self._groups.setdefault(group_id, {})
        self._count += user_id not in users
        users[user_id] = seat
        while self._count > self._capacity:
            _, forgotten = self._groups.popitem(last=False)
            self._count -= len(forgotten)

    def forget(self, group_id: str) -> None:
        """Forget a group, because its members have changed."""
        self._count -= len(self._groups.pop(group_id, ()))

    def clear(self) -> None:
        """Forget all."""
        self._groups.clear()
        self._count = 0
