"""The cached members of groups: local, then Redis, then the Group service."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from math import inf
from typing import Any

import structlog
from redis.asyncio import Redis

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.store import scripts
from skyeim_ws.store.cancellation import cancel_and_wait
from skyeim_ws.store.client import Client
from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.seats import Seat, Seats
from skyeim_ws.store.tracking import Change, changes

log = structlog.get_logger()

KEY_PREFIX = "im:group:members:"

CAPACITY = 10_000
"""Groups in the local cache; when it is full, the least recently used one leaves."""

TTL = 7 * 86_400

UNVERIFIED_TTL = 30
"""Seconds that a list lives in Redis before it has been compared with the service again."""

UNTRACKED_TTL = 1.0
"""Seconds that a list is used locally when no change to it would be told."""

MAX_FILLS = 64
"""How many groups are written to Redis at a time; others are written at a later look-up."""

MAX_LOADS = 64
"""Lists that the Group service is asked for at a time, for all groups together."""

_LOAD_WAIT = 2.0
"""Seconds that a look-up waits until it may ask the service."""

REFUSED_TTL = 5.0
"""Seconds that the refusal of a look-up is remembered, unless the group changes before."""

Load = Callable[[str, int], Awaitable[frozenset[int]]]
Check = Callable[[str, int], Awaitable[bool]]


def key(group_id: str) -> str:
    """Return the key of a group's member set."""
    return KEY_PREFIX + group_id


class MemberCache:
    """`ports.Members`; `load(group_id, asker_id)` asks the Group service for all members.

    `check(group_id, user_id)` asks it for one. What was read from Redis while it tells of changes
    is kept until a change; anything else, and all that a cluster has, for `UNTRACKED_TTL`.
    `on_filled` is told each list that is newly kept.
    `start` it on a running loop.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        client: Client,
        load: Load,
        check: Check,
        *,
        capacity: int = CAPACITY,
        refused_ttl: float = REFUSED_TTL,
        max_loads: int = MAX_LOADS,
        on_filled: Callable[[str, frozenset[int]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tracking = False
        self._pipeline = pipeline
        self._client = client
        self._load = load
        self._check = check
        self._capacity = capacity
        self._refused_ttl = refused_ttl
        self._seats = Seats(capacity)
        self._loads = asyncio.Semaphore(max_loads)
        self.on_filled = on_filled
        self._clock = clock
        self._kept: OrderedDict[str, tuple[frozenset[int], float]] = OrderedDict()
        self._look_ups: dict[str, asyncio.Task[frozenset[int]]] = {}
        self._tasks: set[asyncio.Task[frozenset[int]]] = set()
        self._fills: dict[str, asyncio.Task[None]] = {}
        self._follower: asyncio.Task[None] | None = None
        self._fill_script = scripts.read("fill_members")

    def start(self) -> asyncio.Task[None] | None:
        """Begin to follow changes; return the task, which ends at `close` alone, or by a fault.

        There is none for a cluster.
        """
        if not isinstance(self._client, Cluster):
            self._follower = asyncio.create_task(self._follow(self._client))
        return self._follower

    async def close(self) -> None:
        """Stop following and give up what is under way."""
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._fills.values()]
        if self._follower is not None:
            tasks.append(self._follower)
        await cancel_and_wait(*tasks)
        self._change(Change(None, tracking=False))

    def cached(self, group_id: str) -> frozenset[int] | None:
        """Return the members if they are at hand without waiting."""
        kept = self._kept.get(group_id)
        if kept is None:
            return None
        members, until = kept
        if self._clock() >= until:
            del self._kept[group_id]
            return None
        self._kept.move_to_end(group_id)
        return members

    @property
    def look_ups(self) -> int:
        """Count the groups that are being looked up."""
        return len(self._tasks)

    @property
    def seats(self) -> int:
        """Count the single memberships and refusals that are remembered."""
        return len(self._seats)

    def is_member(self, group_id: str, user_id: int) -> bool | None:
        """Whether the user is in the group; None if that is not at hand without waiting."""
        members = self.cached(group_id)
        if members is not None:
            return user_id in members
        seat = self._seats.find(group_id, user_id, self._clock())
        return None if seat is None else seat.refused is None

    async def require_member(self, group_id: str, user_id: int) -> None:
        """Return if the user is in the group; raises Refused, Unavailable.

        Redis or the service is asked for this user alone: a stranger has no list looked up.
        """
        members = self.cached(group_id)
        if members is not None:
            if user_id not in members:
                raise Refused(Reason.NOT_MEMBER)
            return
        self._raise_known_refusal(group_id, user_id)
        if self._seats.find(group_id, user_id, self._clock()) is not None:
            return
        try:
            listed = await self._is_listed(group_id, user_id)
            if not (await self._check(group_id, user_id) if listed is None else listed):
                raise Refused(Reason.NOT_MEMBER)
        except Refused as refused:
            self._note_refusal(group_id, user_id, refused)
            raise
        self._seats.put(group_id, user_id, Seat(None, self._clock() + UNTRACKED_TTL))

    async def members(self, group_id: str, asker_id: int = 0) -> frozenset[int]:
        """Return the members, from the nearest cache that is known to be fresh.

        Look-ups of one group at a time share one, but nobody is refused for another asker's sake.
        Raises what the load raises: Refused if there is no such group or the asker may not ask,
        Unavailable.
        """
        while (members := self.cached(group_id)) is None:
            self._raise_known_refusal(group_id, asker_id)
            look_up = self._look_ups.get(group_id)
            asked = look_up is None
            if look_up is None:
                look_up = self._start_look_up(group_id, asker_id)
            try:
                # A waiter that is cancelled must not take the others' look-up with it.
                return await asyncio.shield(look_up)
            except Refused as refused:
                if asked or refused.reason is not Reason.NOT_MEMBER:
                    raise
        return members

    def _raise_known_refusal(self, group_id: str, user_id: int) -> None:
        seat = self._seats.find(group_id, user_id, self._clock())
        if seat is not None and seat.refused is not None:
            raise Refused(seat.refused)

    def _note_refusal(self, group_id: str, user_id: int, refused: Refused) -> None:
        seat = Seat(refused.reason, self._clock() + self._refused_ttl)
        self._seats.put(group_id, user_id, seat)

    def _start_look_up(self, group_id: str, asker_id: int) -> asyncio.Task[frozenset[int]]:
        look_up = asyncio.create_task(self._look_up(group_id, asker_id))
        self._look_ups[group_id] = look_up
        self._tasks.add(look_up)
        look_up.add_done_callback(self._looked_up)
        return look_up

    async def _look_up(self, group_id: str, asker_id: int) -> frozenset[int]:
        this = asyncio.current_task()
        try:
            members = await self._read(group_id)
            until = inf if self.tracking else self._clock() + UNTRACKED_TTL
            if not members:
                members = await self._ask(group_id, asker_id)
                # While the list is not in Redis, a change touches no key, and Redis tells nobody.
                until = self._clock() + UNTRACKED_TTL
                self._start_fill(group_id, members, asker_id)
        finally:
            # A change that came in meanwhile has taken this look-up out: its list may be older
            # than the change. Those who wait already get it, nobody else; and whoever follows the
            # members gets the list that comes after the change, without another message.
            unchanged = self._look_ups.get(group_id) is this
            if unchanged:
                del self._look_ups[group_id]
        if unchanged:
            self._keep(group_id, members, until)
        elif group_id not in self._look_ups:
            self._start_look_up(group_id, asker_id)
        return members

    async def _ask(self, group_id: str, asker_id: int) -> frozenset[int]:
        try:
            async with asyncio.timeout(_LOAD_WAIT):
                await self._loads.acquire()
        except TimeoutError:
            raise Unavailable("too many groups are being looked up") from None
        try:
            return await self._load(group_id, asker_id)
        except Refused as refused:
            self._note_refusal(group_id, asker_id, refused)
            raise
        finally:
            self._loads.release()

    def _looked_up(self, task: asyncio.Task[frozenset[int]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # so that it counts as seen, if nobody waits any more

    async def _read(self, group_id: str) -> frozenset[int]:
        if not self._pipeline.healthy:
            return frozenset()
        try:
            [members] = await self._pipeline.call(("SMEMBERS", key(group_id)))
        except Unavailable:
            return frozenset()
        return frozenset(_user_ids(members))

    async def _is_listed(self, group_id: str, user_id: int) -> bool | None:
        """Whether the user is in the set of the group in Redis; None if there is none."""
        if not self._pipeline.healthy:
            return None
        try:
            there, listed = await self._pipeline.call(
                ("EXISTS", key(group_id)), ("SISMEMBER", key(group_id), user_id)
            )
        except Unavailable:
            return None
        return bool(listed) if there else None

    def _keep(self, group_id: str, members: frozenset[int], until: float) -> None:
        self._kept[group_id] = (members, until)
        self._kept.move_to_end(group_id)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        if self.on_filled is not None:
            self.on_filled(group_id, members)

    def _start_fill(self, group_id: str, members: frozenset[int], asker_id: int) -> None:
        free = len(self._fills) < MAX_FILLS and group_id not in self._fills
        if members and free and self._pipeline.healthy:
            fill = asyncio.create_task(self._fill(group_id, members, asker_id))
            self._fills[group_id] = fill
            fill.add_done_callback(lambda _: self._fills.pop(group_id, None))

    async def _fill(self, group_id: str, members: frozenset[int], asker_id: int) -> None:
        """Write a loaded list to Redis, without leaving a stale one there.

        Who changes the membership writes its database first and deletes the key after. Had both
        happened between our load and our write, the stale list would stand for days: a DEL of a
        key that is not there is not told to anyone. So the list is written for a short time only,
        and loaded once more: a change that came before the write shows in the second load, and a
        DEL that comes after the write takes the list away itself. Both loads equal: it may stay.
        """
        try:
            await self._pipeline.call(
                ("EVAL", self._fill_script, 1, key(group_id), UNVERIFIED_TTL, *members)
            )
            now = await self._reload(group_id, asker_id)
            if now == members:
                await self._pipeline.call(("EXPIRE", key(group_id), TTL))
                return
            await self._pipeline.call(("DEL", key(group_id)))
            if now is not None and self.on_filled is not None:
                # Somebody may have read the stale list, and been told of it in the meantime.
                self.on_filled(group_id, now)
        except Unavailable as error:
            log.info("member_fill_unfinished", group_id=group_id, error=str(error))

    async def _reload(self, group_id: str, asker_id: int) -> frozenset[int] | None:
        try:
            return await self._load(group_id, asker_id)
        except Refused:
            return None

    async def _follow(self, client: Redis) -> None:
        async with aclosing(changes(client, KEY_PREFIX)) as stream:
            async for change in stream:
                self._change(change)

    def _change(self, change: Change) -> None:
        self.tracking = change.tracking
        if change.keys is None:
            self._kept.clear()
            self._look_ups.clear()
            self._seats.clear()
            return
        for changed in change.keys:
            group_id = changed.removeprefix(KEY_PREFIX)
            self._kept.pop(group_id, None)
            self._look_ups.pop(group_id, None)
            self._seats.forget(group_id)


def _user_ids(members: Iterable[bytes]) -> Iterable[int]:
    """Give the numbers; other programs may keep a placeholder in the set."""
    return (int(member) for member in members if member.isdigit())
