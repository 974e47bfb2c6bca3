"""What was done in the last seconds: Redis may forget it, if it dies."""

import asyncio
from typing import Generic, TypeVar

_T = TypeVar("_T")

FORGOTTEN_SECONDS = 5.0
"""Redis forgets what is not in its file yet, some two seconds; and it takes time to notice that."""


class Lately(Generic[_T]):
    """The last thing done for each user, for `FORGOTTEN_SECONDS` from then on."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[float, _T]] = {}

    def add(self, user_id: int, what: _T) -> None:
        """Remember what was done for a user now."""
        now = asyncio.get_running_loop().time()
        self._done.pop(user_id, None)  # in the order of the times
        self._done[user_id] = now, what
        while self._done[first := next(iter(self._done))][0] < now - FORGOTTEN_SECONDS:
            del self._done[first]

    def take(self) -> dict[int, _T]:
        """Return all, and forget it."""
        taken, self._done = self._done, {}
        return {user_id: what for user_id, (_, what) in taken.items()}
