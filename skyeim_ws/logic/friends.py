"""The friends of users, remembered for a short while."""

from collections import OrderedDict
from collections.abc import Callable
from math import inf

from skyeim_ws.logic.ports import Friends

_FRESH_SECONDS = 30.0
"""How long a list serves; a change in the Friend service is seen after this at the latest."""

_CAPACITY = 10_000


class FriendCache:
    """A bounded cache before the Friend service."""

    def __init__(self, source: Friends, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._entries: OrderedDict[int, tuple[float, frozenset[int]]] = OrderedDict()

    def known(self, user_id: int) -> frozenset[int] | None:
        """Return the same if it is at hand without waiting."""
        since, friends = self._entries.get(user_id, (-inf, None))
        return friends if self._clock() - since < _FRESH_SECONDS else None

    async def friends(self, user_id: int) -> frozenset[int]:
        """Return the friends of the user whom the user has not blocked; raises as the port."""
        known = self.known(user_id)
        if known is not None:
            return known
        friends = await self._source.friends(user_id)
        self._entries[user_id] = (self._clock(), friends)
        self._entries.move_to_end(user_id)
        if len(self._entries) > _CAPACITY:
            self._entries.popitem(last=False)
        return friends

    def forget(self, user_id: int) -> None:
        """Ask the service again next time."""
        self._entries.pop(user_id, None)
