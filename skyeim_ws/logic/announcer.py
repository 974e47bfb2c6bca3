"""Tells friends who is online: of each user the truth, where they were told something else."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from itertools import islice
from typing import NamedTuple, Protocol

import structlog

from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.messages import UserStatus, frame, now_seconds
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.lately import Lately
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.logic.shared_state import SessionRegistry

log = structlog.get_logger()

_AT_ONCE = 100
"""Users of one step. What a friend hears in one leaves in one write; but all goes in one turn."""

_RETRY_SECONDS = 1.0

_LOOK_SECONDS = 2.0
"""Between two looks at whom other nodes have left to this one."""

_LATE_SECONDS = 5.0
"""By so much clients who were sent away may be late."""


class Look(IntEnum):
    """What is done about a user who is noted; the greater counts."""

    COMPARE = 0  # friends hear what is so, if they were told something else
    HERE = 1  # friends of this node hear it anyway: they may have missed the last news
    EVERYWHERE = 2  # all friends hear it anyway: what they were told may not stand in Redis


class Position(NamedTuple):
    """How many announcements there were; another `epoch` says that they are counted anew."""

    epoch: bytes
    number: int


class Announcements(Protocol):
    """Of whom friends were told last that they are online, over all nodes; in `store`."""

    async def told(self, user_ids: Sequence[int]) -> list[bool]:
        """Return of which of the users friends believe that they are online. Raises Unavailable."""

    async def tell(
        self, user_id: int, friends: Sequence[int], frame: bytes, *, online: bool, again: bool
    ) -> bool:
        """Note it and tell the nodes of friends, in one step; False if it was noted already.

        Then the others are told only if it has to be `again`. Raises Unavailable.
        """

    def later(self, user_ids: Sequence[int], seconds: float) -> None:
        """Have some node look at these users after so many seconds."""

    async def due(self) -> list[int]:
        """Take the users whose time has come, so that no other node does. Raises Unavailable."""

    async def position(self) -> Position:
        """Return how many announcements there were. Raises Unavailable."""

    async def since(self, position: Position) -> list[int]:
        """Return the users of whom something was told since then. Raises Unavailable."""


def news(*, told: bool, online: bool, missed: bool) -> bool | None:
    """Return what friends are to hear: True for online, False for offline, None for nothing.

    `missed` says that friends of this node may not have heard what was told.
    """
    return online if told != online or missed else None


class Announcer:
    """Compares, for whoever is noted, what friends were told with what is so.

    What was told stands in Redis. So it does not matter which node told it, or how often a user is
    noted; and a user of whom friends cannot be told now is kept, at most once, until they can.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        registry: SessionRegistry,
        announcements: Announcements,
        friends: FriendCache,
    ) -> None:
        self.stopping = False
        """Whether the clients of this node are sent away; most are back in a moment, elsewhere."""
        self.away = 0.0
        """The longest time for which one of them was told to stay away, in seconds."""
        self._hub = hub
        self._registry = registry
        self._announcements = announcements
        self._friends = friends
        # Whom to look at, at most once.
        self._noted: dict[int, Look] = {}
        # Users of this node of whom friends were told, in case Redis forgets it.
        self._told: set[int] = set()
        # Of whom this node told something.
        self._lately = Lately[None]()
        # Announcements up to the first of these were heard for certain.
        self._heard: tuple[Position, Position] | None = None
        self._deaf = False
        self._failing = False
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, user_ids: Iterable[int], look: Look = Look.COMPARE) -> None:
        """Look whether these users are what their friends were told."""
        for user_id in user_ids:
            self._noted[user_id] = max(look, self._noted.get(user_id, look))
        self._wake.set()

    def recovered(self) -> None:
        """Tell once more what was told just before Redis was lost: it may have forgotten it."""
        self.note(self._lately.take(), Look.EVERYWHERE)

    def left(self, gone: Sequence[int], moved: Sequence[int]) -> None:
        """Look at those who are nowhere now; who has moved is for another node to look at."""
        self._told.difference_update(moved)
        if self.stopping:
            self._leave_to_others(gone)
        else:
            self.note(gone)

    def subscribed(self) -> None:
        """Tell friends here what this node may not have heard, or was not found to be told."""
        self._deaf = True
        self._wake.set()

    async def mark(self) -> None:
        """Remember how many announcements there were by now; raises Unavailable.

        It takes some seconds to notice that a subscription is dead. So what counts as heard is what
        was there one mark before; marks are further apart than that.
        """
        position = await self._announcements.position()
        self._heard = (position if self._heard is None else self._heard[1], position)

    def _leave_to_others(self, user_ids: Sequence[int]) -> None:
        """Have another node look at users when they had time to come back."""
        if user_ids:
            self._announcements.later(user_ids, self.away + _LATE_SECONDS)

    async def run(self) -> None:
        """Do so, for good; whoever is noted at the end is found by another node."""
        looked = 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()
            now = asyncio.get_running_loop().time()
            if not self.stopping and now - looked >= _LOOK_SECONDS:
                looked = now
                with suppress(Unavailable):
                    self.note(await self._announcements.due())
            some = dict(islice(self._noted.items(), _AT_ONCE))
            for user_id in some:
                del self._noted[user_id]
            try:
                if self._deaf:
                    await self._catch_up()
                later = await self._settle(some) if some else {}
            except Unavailable:
                later = some
                await self._tell_here(some)
            if later:
                self._put_back(later)
                await asyncio.sleep(_RETRY_SECONDS)
            elif some and self._failing:
                self._failing = False
                log.info("friends_told_again")
            if not self._noted and not self._deaf:
                self._wake.clear()

    def _put_back(self, later: dict[int, Look]) -> None:
        for user_id, look in later.items():
            self.note([user_id], look)
        if not self._failing:
            self._failing = True
            log.warning("friends_not_told", users=len(self._noted))

    async def _catch_up(self) -> None:
        if self._heard is None:
            await self.mark()
        elif missed := await self._announcements.since(self._heard[0]):
            self.note(missed, Look.HERE)
        self._deaf = False

    async def _settle(self, some: dict[int, Look]) -> dict[int, Look]:
        """Tell what is to be told; return who is to be looked at again."""
        users = list(some)
        told, elsewhere = await asyncio.gather(
            self._announcements.told(users), self._registry.anywhere(users)
        )
        telling: dict[int, bool] = {}
        away: list[int] = []
        for user_id, was_told, is_elsewhere in zip(users, told, elsewhere, strict=True):
            online = user_id in self._hub or is_elsewhere
            if self.stopping and not online:
                away.append(user_id)
                continue
            believed = was_told or (not online and user_id in self._told)
            answer = news(told=believed, online=online, missed=some[user_id] > Look.COMPARE)
            if answer is not None:
                telling[user_id] = answer
            else:
                self._remember(user_id, online=online)
        self._leave_to_others(away)
        outcomes = await asyncio.gather(
            *(self._tell(user, online, some[user]) for user, online in telling.items())
        )
        return {user: some[user] for user, done in zip(telling, outcomes, strict=True) if not done}

    async def _tell_here(self, users: Iterable[int]) -> None:
        """Without Redis tell friends on this node at least who has come."""
        for user_id in users:
            if user_id in self._hub and user_id not in self._told:
                with suppress(Refused, Unavailable):
                    friends = await self._friends.friends(user_id)
                    self._hub.fan_out(friends, _news_frame(user_id, online=True))
                    self._remember(user_id, online=True)

    async def _tell(self, user_id: int, online: bool, look: Look) -> bool:
        try:
            friends = await self._friends.friends(user_id)
            told = _news_frame(user_id, online=online)
            noted = await self._announcements.tell(
                user_id,
                sorted(friends - self._hub.users),
                told,
                online=online,
                again=look is Look.EVERYWHERE or (not online and user_id in self._told),
            )
        except Refused as error:
            log.info("friends_unknown", user=user_id, error=str(error))
            return True
        except Unavailable:
            return False
        if noted or look > Look.COMPARE:
            self._hub.fan_out(friends, told)
        self._remember(user_id, online=online)
        if noted:
            self._lately.add(user_id, None)
            # Once more: the truth may have changed while it was being told, here or elsewhere.
            self.note([user_id])
        return True

    def _remember(self, user_id: int, *, online: bool) -> None:
        if not online:
            self._told.discard(user_id)
        elif user_id in self._hub:
            self._told.add(user_id)
        # Else it has just left, which is noted, or is elsewhere, and then it has moved.


def _news_frame(user_id: int, *, online: bool) -> bytes:
    status = UserStatus(user_id=user_id, timestamp=now_seconds())
    return frame("online" if online else "offline", status)
