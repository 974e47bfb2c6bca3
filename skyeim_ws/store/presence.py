"""Who is online, over all nodes: the sets that every gateway and service shares."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain, islice
from typing import TypeVar

from skyeim_ws.store.announcements import TOLD_KEY
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.sets import pieces
from skyeim_ws.store.shard import Command

_T = TypeVar("_T")

USERS_KEY = "online:users"
GROUP_KEY_PREFIX = "group:online:"

CHUNK = 500
"""Members in one SADD and commands in one operation, so that no single one holds Redis up."""


def group_key(group_id: str) -> str:
    """Return the key of the set of a group's online members."""
    return GROUP_KEY_PREFIX + group_id


class RedisPresence:
    """`shared_state.Presence` in Redis."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def enter(self, user_id: int, group_ids: Sequence[str]) -> int:
        """Write the user and its groups as online; return how many users are."""
        *_, count = await self._pipeline.call(
            ("SADD", USERS_KEY, user_id),
            *(("SADD", group_key(group_id), user_id) for group_id in group_ids),
            ("SCARD", USERS_KEY),
        )
        return int(count)

    async def leave(self, users: Mapping[int, Sequence[str]]) -> None:
        """Take users out, and out of their groups."""
        await self._call_all(_all_of("SREM", users))

    async def online(self, user_ids: Sequence[int]) -> list[int]:
        """Return those of the users who are online, in the order given."""
        if not user_ids:
            return []
        asked: list[Command] = [("SMISMEMBER", USERS_KEY, *some) for some in chunks(user_ids)]
        flags = chain.from_iterable(await self._pipeline.call(*asked))
        return [user_id for user_id, flag in zip(user_ids, flags, strict=True) if flag]

    async def sync_group(self, group_id: str, members: Set[int], here: Set[int]) -> list[int]:
        """Write which members are here; take out who is not a member, and return them."""
        key = group_key(group_id)
        additions: list[Command] = [("SADD", key, *some) for some in chunks(here)]
        if additions:
            await self._pipeline.call(*additions)
        gone = []
        async for online, _ in pieces(self._pipeline, key):
            gone += [user_id for user_id in online if user_id not in members]
        for some in chunks(gone):
            self._pipeline.submit(("SREM", key, *some))
        return gone

    def resync(self, users: Mapping[int, Sequence[str]]) -> None:
        """Write all users of this node, with their groups, again after an outage.

        All of it is queued at once, so that a later `leave` stands behind it. In steps it could
        bring back a user who left in between. Does nothing while Redis is away.
        """
        if not self._pipeline.healthy:
            # The recovery asks again; until then the room in the queue is for what nobody else has.
            return
        for commands in chunks(_all_of("SADD", users)):
            self._pipeline.submit(*commands)

    async def enter_again(self, users: Mapping[int, Sequence[str]]) -> None:
        """Write some users of this node, with their groups, whether they stand there or not."""
        await self._call_all(_all_of("SADD", users))

    async def _call_all(self, commands: Iterable[Command]) -> None:
        """Queue all of them at once, so that what is asked later comes behind them."""
        calls = [self._pipeline.call_each(*some) for some in chunks(commands)]
        await asyncio.gather(*calls)

    async def clear(self) -> None:
        """Forget everyone; only for a Redis, not a cluster, that no other node uses."""
        await self._pipeline.call(("DEL", USERS_KEY), ("DEL", TOLD_KEY))
        cursor = 0
        while True:
            [(after, keys)] = await self._pipeline.call(
                ("SCAN", cursor, "MATCH", GROUP_KEY_PREFIX + "*", "COUNT", CHUNK)
            )
            if keys:
                await self._pipeline.call(*(("DEL", key) for key in keys))
            cursor = int(after)
            if cursor == 0:
                return


def _all_of(verb: str, users: Mapping[int, Sequence[str]]) -> Iterator[Command]:
    """Give the commands for users and their groups: few, each for many users."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for user_id, group_ids in users.items():
        for group_id in group_ids:
            groups[group_id].append(user_id)
    for some in chunks(users):
        yield (verb, USERS_KEY, *some)
    for group_id, members in groups.items():
        for some in chunks(members):
            yield (verb, group_key(group_id), *some)


def chunks(items: Iterable[_T]) -> Iterator[tuple[_T, ...]]:
    """Yield the items in runs of at most `CHUNK`."""
    iterator = iter(items)
    while chunk := tuple(islice(iterator, CHUNK)):
        yield chunk
