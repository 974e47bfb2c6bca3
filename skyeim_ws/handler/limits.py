"""How often one user may log in and call, and how many connections may be without a token; pure.

Times are seconds of any monotonic clock. What is remembered of a user is forgotten when it has no
effect any more, and of too many users the one who was not seen for the longest time is forgotten.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

MAX_USERS = 100_000

_ROUNDING = 1e-6
"""Seconds, or parts of an interval, that a sum of floats may be off."""

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0

Key = TypeVar("Key", bound=Hashable)


class CallLimit:
    """`rate` calls per second and user, with bursts of `burst`; a rate of 0 allows everything."""

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._burst = burst
        # When a user has paid for all calls; what lies ahead of now is what was used of the burst.
        self._paid_at: OrderedDict[int, float] = OrderedDict()

    def wait(self, user_id: int, now: float) -> float:
        """Count a call; return 0, or after how many seconds it is welcome instead."""
        if not self._interval:
            return 0.0
        paid_at = max(now, self._paid_at.pop(user_id, now)) + self._interval
        too_early = paid_at - now - self._burst * self._interval
        refused = too_early > _ROUNDING
        # A refused call costs nothing: who made it was asked to wait.
        _remember(self._paid_at, user_id, paid_at - self._interval if refused else paid_at)
        return too_early if refused else 0.0


class CallsUnderWay:
    """The calls of users that are not over: `most` of a user at a time; 0 allows everything.

    A call holds a body of the caller, then an answer that waits to be read. Without a bound a user
    who sends slowly and reads nothing fills the memory, at whatever rate calls are allowed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_user: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._of_user.total()

    def enter(self, user_id: int) -> bool:
        """Note a call; return False, and note nothing, if the user has to wait for others."""
        if self._most and self._of_user[user_id] >= self._most:
            return False
        self._of_user[user_id] += 1
        return True

    def leave(self, user_id: int) -> None:
        """Forget a call: its answer was read, or its caller is gone."""
        self._of_user[user_id] -= 1
        if not self._of_user[user_id]:
            del self._of_user[user_id]


class LoginLimit:
    """`burst` logins of a user at once, one more in each `interval`; 0 of either is no limit.

    Each login beyond that begins a pause, twice as long as the one before, in which there is no
    other. So two devices that throw each other out for ever end by doing so now and then.
    """

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        # When a user has paid for all logins, and until when there is a pause.
        self._users: OrderedDict[int, tuple[float, float]] = OrderedDict()

    def wait(self, user_id: int, now: float) -> float:
        """Count a login; return 0, or after how many seconds it is welcome instead."""
        if not self._burst or not self._interval:
            return 0.0
        paid_at, pause_until = self._users.pop(user_id, (now, now))
        if pause_until > now:
            _remember(self._users, user_id, (paid_at, pause_until))
            return pause_until - now
        paid_at = max(now, paid_at) + self._interval
        beyond = math.ceil((paid_at - now) / self._interval - _ROUNDING) - self._burst
        if beyond > 0:
            # The exponent is bounded, or its power would be no float any more.
            pause_until = now + min(_FIRST_PAUSE * 2.0 ** min(beyond - 1, 10), _LONGEST_PAUSE)
        _remember(self._users, user_id, (paid_at, pause_until))
        return 0.0


T = TypeVar("T")


def _remember(users: OrderedDict[int, T], user_id: int, state: T) -> None:
    users[user_id] = state
    if len(users) > MAX_USERS:
        users.popitem(last=False)


class Handshakes(Generic[Key]):
    """The connections whose callers have not shown a token yet, the oldest first.

    A caller who means well needs some milliseconds. So where there are too many, `limit` in all or
    `per_address` from one address (0: no limit), the oldest of them has to go, and who comes is
    served also while somebody opens connections and says nothing.
    """

    def __init__(self, limit: int, per_address: int) -> None:
        self._limit = limit
        self._per_address = per_address
        self._address: dict[Key, str] = {}
        self._of_address: dict[str, dict[Key, None]] = {}

    def __len__(self) -> int:
        return len(self._address)

    def resize(self, limit: int, per_address: int) -> None:
        """Change the limits, for those who come."""
        self._limit = limit
        self._per_address = per_address

    def enter(self, connection: Key, address: str) -> Key | None:
        """Note a connection; return one that has to go for it. An address "" is not counted."""
        self._address[connection] = address
        if address:
            own = self._of_address.setdefault(address, {})
            own[connection] = None
            if self._per_address and len(own) > self._per_address:
                return self._drop(next(iter(own)))
        if len(self._address) > self._limit:
            return self._drop(next(iter(self._address)))
        return None

    def leave(self, connection: Key) -> None:
        """Forget a connection: it is known or gone."""
        address = self._address.pop(connection, "")
        own = self._of_address.get(address)
        if own is not None:
            own.pop(connection, None)
            if not own:
                del self._of_address[address]

    def _drop(self, connection: Key) -> Key:
        self.leave(connection)
        return connection
