"""The cached members of groups: local, then Redis, then the Group service."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence, Set
from contextlib import aclosing
from math import inf
from typing import Any

import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.timing import Timings
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.store.client import Client
from skyeim_ws.store.member_fills import KEY_PREFIX, Load, MemberFills, members_key
from skyeim_ws.store.member_lists import CAPACITY, MemberList, MemberLists
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.seats import Seat, Seats
from skyeim_ws.store.sets import pieces
from skyeim_ws.store.tracking import Change, changes

log = structlog.get_logger()

UNTRACKED_TTL = 1.0
"""Seconds that a list is used locally when no change to it would be told."""

MAX_LOADS = 64
"""Lists that the Group service is asked for at a time, for all groups together."""

_LOAD_WAIT = 2.0
"""Seconds that a look-up waits until it may ask the service."""

REFUSED_TTL = 5.0
"""Seconds that the refusal of a look-up is remembered, unless the group changes before."""

Check = Callable[[str, int], Awaitable[bool]]


class MemberCache:
    """`ports.Members`; `load(group_id, asker_id)` asks the Group service for all members.

    `check(group_id, user_id)` asks it for one. What was read from Redis while it tells of changes
    is kept until a change; anything else for `UNTRACKED_TTL`. A large list may be some seconds old:
    else each of many changes would cost a whole one. `start` it on a running loop.
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
        clock: Callable[[], float] = time.monotonic,
        timings: Timings | None = None,
    ) -> None:
        self.tracking = False
        self._pipeline = pipeline
        self._client = client
        self._load = load
        self._check = check
        self._refused_ttl = refused_ttl
        self._seats = Seats(capacity)
        self._loads = asyncio.Semaphore(max_loads)
        self.on_filled: Callable[[str, frozenset[int]], None] = lambda *_: None
        """Called with each list that is newly kept."""
        self.on_changed: Callable[[Sequence[str] | None], None] = lambda _: None
        """Called with the groups whose sets have changed in Redis; None if any may have."""
        self.on_flushed: Callable[[], None] = lambda: None
        """Called when Redis may have been emptied: then all keys have changed."""
        self._timings = timings or Timings()
        self._clock = clock
        self._lists = MemberLists(capacity, clock)
        self._look_ups: dict[str, asyncio.Task[frozenset[int]]] = {}
        self._tasks: set[asyncio.Task[frozenset[int]]] = set()
        self._fills = MemberFills(pipeline, load, self._corrected)
        self._follower: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin to follow changes; return the task, which ends at `close` alone, or by a fault."""
        self._follower = asyncio.create_task(self._follow())
        return self._follower

    async def close(self) -> None:
        """Stop following and give up what is under way."""
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._fills.tasks]
        if self._follower is not None:
            tasks.append(self._follower)
        await cancel_and_wait(*tasks)
        self._change(Change(None, tracking=False))

    def cached(self, group_id: str) -> frozenset[int] | None:
        """Return the members if they are at hand without waiting."""
        kept = self._lists.find(group_id)
        return None if kept is None else kept.members

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
        kept = self._lists.find(group_id)
        if kept is not None and (user_id in kept.members or kept.asked):
            return user_id in kept.members
        seat = self._seats.find(group_id, user_id, self._clock())
        return None if seat is None else seat.refused is None

    async def require_member(self, group_id: str, user_id: int) -> None:
        """Return if the user is in the group; raises Refused, Unavailable.

        Redis or the service is asked for this user alone: a stranger has no list looked up. A set
        in Redis that lacks the user proves nothing: it may not be whole.
        """
        known = self.is_member(group_id, user_id)
        if known:
            return
        self._raise_known_refusal(group_id, user_id)
        try:
            if known is False or not (
                await self._is_listed(group_id, user_id) or await self._check(group_id, user_id)
            ):
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
        while (members := self._whole(group_id, asker_id)) is None:
            self._raise_known_refusal(group_id, asker_id)
            if await self._added(group_id, asker_id):
                continue
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

    async def _added(self, group_id: str, asker_id: int) -> bool:
        """Whether the asker could be added to a large list that is at hand, which spares another.

        Raises Refused, Unavailable.
        """
        kept = self._lists.find(group_id)
        if kept is None or not kept.large:
            return False
        await self.require_member(group_id, asker_id)
        kept = self._lists.find(group_id)
        if kept is not None:
            self._keep(group_id, kept._replace(members=kept.members | {asker_id}))
        return kept is not None

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
        began = time.monotonic()
        try:
            members = await self._read(group_id)
            asked = not members or bool(asker_id and asker_id not in members)
            tracked = self.tracking and not asked
            if asked:
                # While the list is not in Redis, a change touches no key, and Redis tells nobody.
                members = await self._ask(group_id, asker_id)
                self._fills.start(group_id, members, asker_id)
        finally:
            # A change that came in meanwhile has taken this look-up out: its list may be older
            # than the change. Those who wait already get it, nobody else; and whoever follows the
            # members gets the list that comes after the change, without another message.
            unchanged = self._look_ups.get(group_id) is this
            took = time.monotonic() - began
            self._timings.note("slow_members", took, group=group_id)
            if unchanged:
                del self._look_ups[group_id]
        found = MemberList(members, inf, asked, took)
        if not tracked:
            found = found.ending(self._clock(), UNTRACKED_TTL)
        if unchanged:
            self._keep(group_id, found)
        elif found.large:
            self._keep(group_id, found.ending(self._clock(), 0.0))
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

    def _whole(self, group_id: str, asker_id: int) -> frozenset[int] | None:
        """Return the cached members, unless they came from Redis and the asker is not among them.

        A service may have added one member to a set that was not there.
        """
        kept = self._lists.find(group_id)
        if kept is None:
            return None
        if not asker_id or asker_id in kept.members or kept.asked:
            return kept.members
        if not kept.large:
            self._lists.forget(group_id)
        return None

    async def _read(self, group_id: str) -> frozenset[int]:
        """Return the set in Redis, empty if there is none of which all members are sure to be.

        Whoever adds a member to a set that is not there leaves one that never expires.
        """
        found: set[int] = set()
        if self._pipeline.healthy:
            try:
                async for members, ttl in pieces(self._pipeline, members_key(group_id)):
                    if ttl < 0:  # it never expires, or is gone, perhaps meanwhile
                        return frozenset()
                    found.update(members)
            except Unavailable:
                return frozenset()
        return frozenset(found)

    async def listed(self, group_id: str, user_ids: Set[int]) -> set[int]:
        """Return those of the users who are in the set in Redis; raises Unavailable."""
        found: set[int] = set()
        async for members, _ in pieces(self._pipeline, members_key(group_id)):
            found.update(each for each in members if each in user_ids)
        return found

    async def _is_listed(self, group_id: str, user_id: int) -> bool:
        """Whether the user is in the set of the group in Redis."""
        if not self._pipeline.healthy:
            return False
        try:
            [listed] = await self._pipeline.call(("SISMEMBER", members_key(group_id), user_id))
        except Unavailable:
            return False
        return bool(listed)

    def _keep(self, group_id: str, found: MemberList) -> None:
        self._lists.keep(group_id, found)
        self.on_filled(group_id, found.members)

    def _corrected(self, group_id: str, members: frozenset[int]) -> None:
        self.on_filled(group_id, members)

    async def _follow(self) -> None:
        tracked = changes(self._client, KEY_PREFIX, lambda: self._pipeline.moves)
        async with aclosing(tracked) as stream:
            async for change in stream:
                self._change(change)
                if change.keys is None and change.tracking:
                    self.on_flushed()

    def _change(self, change: Change) -> None:
        self.tracking = change.tracking
        if change.tracking:
            self.on_changed(change.keys and [each.removeprefix(KEY_PREFIX) for each in change.keys])
        if change.keys is None:
            self._lists.clear()
            self._look_ups.clear()
            self._seats.clear()
            return
        for changed in change.keys:
            group_id = changed.removeprefix(KEY_PREFIX)
            self._lists.changed(group_id)
            self._look_ups.pop(group_id, None)
            self._seats.forget(group_id)
