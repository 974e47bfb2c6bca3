"""The friends of users, remembered for a short while."""

from collections import OrderedDict
from collections.abc import Callable
from math import inf

from skyeim_ws.logic.ports import Friends

_FRESH_SECONDS = 30.0
"""How long a list serves; a change in the Friend service is seen after this at the latest."""

_CAPACITY, _CAPACITY_FRIENDS = 10_000, 1_000_000
"""Lists, and friends in all of them but the newest."""


class FriendCache:
    """A bounded cache before the Friend service."""

    def __init__(self, source: Friends, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._entries: OrderedDict[int, tuple[float, frozenset[int]]] = OrderedDict()
        self._count = 0
        self._look_ups: dict[int, object] = {}

    def known(self, user_id: int) -> frozenset[int] | None:
        """Return the same if it is at hand without waiting."""
        since, friends = self._entries.get(user_id, (-inf, None))
        return friends if self._clock() - since < _FRESH_SECONDS else None

    async def friends(self, user_id: int) -> frozenset[int]:
        """Return the friends of the user whom the user has not blocked; raises as the port."""
        known = self.known(user_id)
        if known is not None:
            return known
        look_up = self._look_ups[user_id] = object()
        try:
            friends = await self._source.friends(user_id)
        finally:
            unchanged = self._look_ups.get(user_id) is look_up
            if unchanged:
                del self._look_ups[user_id]
        if not unchanged:
            return friends
        self.forget(user_id)
        self._entries[user_id] = (self._clock(), friends)
        self._count += len(friends)
        while len(self._entries) > _CAPACITY or (
            self._count > _CAPACITY_FRIENDS and len(self._entries) > 1
        ):
            self.forget(next(iter(self._entries)))
        return friends

    def forget(self, user_id: int) -> None:
        """Ask the service again next time; what is being asked may be older than the change."""
        self._look_ups.pop(user_id, None)
        _, friends = self._entries.pop(user_id, (0.0, ()))
        self._count -= len(friends)
