"""Writes the members of groups to Redis for all nodes and services, and never a stale list."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from uuid import uuid4

import structlog

from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.store import scripts
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.sets import PIECE

log = structlog.get_logger()

KEY_PREFIX = "im:group:members:"

TTL = 7 * 86_400

UNVERIFIED_TTL = 30
"""Seconds that a list lives in Redis before it has been compared with the service again."""

MAX_FILLS = 64
"""How many groups are written to Redis at a time; others are written at a later look-up."""

Load = Callable[[str, int], Awaitable[frozenset[int]]]


def members_key(group_id: str) -> str:
    """Return the key of a group's member set."""
    return KEY_PREFIX + group_id


class MemberFills:
    """The writes under way; `load(group_id, asker_id)` asks the Group service for all members.

    `on_corrected` is told the list that a group has in place of a stale one.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        load: Load,
        on_corrected: Callable[[str, frozenset[int]], None],
    ) -> None:
        self._pipeline = pipeline
        self._load = load
        self._on_corrected = on_corrected
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fill_members = scripts.read("fill_members")
        self._publish_members = scripts.read("publish_members")

    @property
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """Return what is under way."""
        return self._tasks.values()

    def start(self, group_id: str, members: frozenset[int], asker_id: int) -> None:
        """Write a list that was just loaded, unless too many are being written."""
        free = len(self._tasks) < MAX_FILLS and group_id not in self._tasks
        if members and free and self._pipeline.healthy:
            fill = asyncio.create_task(self._fill(group_id, members, asker_id))
            self._tasks[group_id] = fill
            fill.add_done_callback(lambda _: self._tasks.pop(group_id, None))

    async def _fill(self, group_id: str, members: frozenset[int], asker_id: int) -> None:
        """Write a loaded list to Redis, without leaving a stale one there.

        Who changes the membership writes its database first and deletes the key after. Had both
        happened between our load and our write, the stale list would stand for days: a DEL of a
        key that is not there is not told to anyone. So the list is written for a short time only,
        and loaded once more: a change that came before the write shows in the second load, and a
        DEL that comes after the write takes the list away itself. Both loads equal: it may stay.
        """
        try:
            await self._write(members_key(group_id), members)
            now = await self._reload(group_id, asker_id)
            if now == members:
                await self._pipeline.call(("EXPIRE", members_key(group_id), TTL))
                return
            await self._pipeline.call(("DEL", members_key(group_id)))
            if now is not None:
                # Somebody may have read the stale list, and been told of it in the meantime.
                self._on_corrected(group_id, now)
        except Unavailable as error:
            log.info("member_fill_unfinished", group=group_id, error=str(error))

    async def _write(self, name: str, members: frozenset[int]) -> None:
        if len(members) <= PIECE:
            await self._pipeline.call(
                ("EVAL", self._fill_members, 1, name, UNVERIFIED_TTL, *members)
            )
            return
        # Under a name of this write alone: two at a time would become a mixture.
        written = f"{{{name}}}:{uuid4().hex}"
        waiting = iter(members)
        while some := list(islice(waiting, PIECE)):
            await self._pipeline.call(("SADD", written, *some), ("EXPIRE", written, UNVERIFIED_TTL))
        await self._pipeline.call(("EVAL", self._publish_members, 2, written, name, UNVERIFIED_TTL))

    async def _reload(self, group_id: str, asker_id: int) -> frozenset[int] | None:
        try:
            return await self._load(group_id, asker_id)
        except Refused:
            return None
