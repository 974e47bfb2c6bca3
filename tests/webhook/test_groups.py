"""Members who are away: found after the message has gone its way, told together, bounded."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.outgoing import Outgoing, Stored
from skyeim_ws.logic.ports import Members, Refused, Unavailable
from skyeim_ws.store.notices import STREAM_KEY, TOGETHER, RedisNotices
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.presence import USERS_KEY, RedisPresence
from skyeim_ws.webhook import groups
from skyeim_ws.webhook.groups import GroupNotices
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until, until_async


class Lists:
    """Members of groups; a group without a list is an error to ask for."""

    def __init__(self, **lists: frozenset[int] | Exception) -> None:
        self._lists = lists
        self.strangers: set[int] = set()

    async def members(self, group_id: str, asker_id: int = 0) -> frozenset[int]:
        if asker_id in self.strangers:
            raise Refused(Reason.NOT_MEMBER)
        found = self._lists[group_id]
        if isinstance(found, Exception):
            raise found
        return found


def made(
    pipeline: Pipeline,
    *,
    here: set[int] | None = None,
    size: int = 100,
    strangers: Iterable[int] = (),
    **lists: Any,
) -> tuple[RedisNotices, GroupNotices]:
    notices = RedisNotices(pipeline, "n1", size=10_000, content=False)
    source = Lists(**lists)
    source.strangers.update(strangers)
    presence = RedisPresence(pipeline)
    told = GroupNotices(notices, cast(Members, source), presence, here or set(), size=size)
    return notices, told


def store(told: GroupNotices, seq: int, *, group: str = "g", sender: int = 1) -> None:
    message = Outgoing(
        msg_id=f"m{seq}", from_user_id=sender, content="hi", content_type=1, group_id=group
    )
    told.stored(message, Stored(id=seq, msg_id=f"m{seq}", created_at=7, seq=seq))


async def told_of(redis: Redis) -> list[tuple[list[int], str]]:
    found = [json.loads(fields[b"n"]) for _, fields in cast(Any, await redis.xrange(STREAM_KEY))]
    return [(each["userIds"], each["message"]["msgId"]) for each in found]


@asynccontextmanager
async def telling(told: GroupNotices) -> AsyncIterator[None]:
    task = asyncio.create_task(told.run())
    try:
        yield
    finally:
        await cancel_and_wait(task)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "PAUSE", 0.01)
    monkeypatch.setattr(groups, "RETRY", 0.01)


@pytest.mark.gen_test
async def test_only_members_who_are_on_no_node_are_told_of(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        await redis.sadd(USERS_KEY, 1, 3)
        _, told = made(pipeline, here={2}, g=frozenset({1, 2, 3, 4, 5}))
        store(told, 1)
        await told.tell()
        await until_async(lambda: redis.exists(STREAM_KEY))
        assert await told_of(redis) == [([4, 5], "m1")]


@pytest.mark.gen_test
async def test_one_look_up_serves_all_messages_that_have_gathered(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        _, told = made(pipeline, g=frozenset({1, 4}), h=frozenset({1, 5}))
        await redis.sadd(USERS_KEY, 1)
        await redis.config_resetstat()
        async with telling(told):
            for seq in range(1, 51):
                store(told, seq, group="gh"[seq % 2])
            await until_async(lambda: _has(redis, 50))
        calls = (await redis.info("commandstats"))["cmdstat_smismember"]["calls"]
        assert calls == 1
        messages = await told_of(redis)
        assert [of for users, of in messages if users == [4]] == [f"m{n}" for n in range(2, 51, 2)]
        assert [of for users, of in messages if users == [5]] == [f"m{n}" for n in range(1, 51, 2)]


@pytest.mark.gen_test
async def test_a_large_group_is_told_in_several_notices(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        everyone = range(1, 3 * TOGETHER + 2)
        await redis.sadd(USERS_KEY, 1)
        _, told = made(pipeline, g=frozenset(everyone))
        store(told, 1)
        await told.tell()
        await until_async(lambda: _has(redis, 3))
        lists = [users for users, _ in await told_of(redis)]
        assert [len(users) for users in lists] == [TOGETHER] * 3
        assert [user for users in lists for user in users] == [*everyone[1:]]


@pytest.mark.gen_test
async def test_a_sender_who_has_left_is_not_told_of_the_own_message(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        _, told = made(pipeline, g=frozenset({1, 2, 3}))
        store(told, 1, sender=1)
        store(told, 2, sender=2)
        await told.tell()
        await until_async(lambda: _has(redis, 2))
        assert await told_of(redis) == [([2, 3], "m1"), ([1, 3], "m2")]


@pytest.mark.gen_test
async def test_the_last_words_of_who_leaves_are_told_of_with_all_before(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        _, told = made(pipeline, strangers={9}, g=frozenset({1, 2}))
        store(told, 1, sender=1)
        store(told, 2, sender=9)
        await told.tell()
        await until_async(lambda: _has(redis, 2))
        assert await told_of(redis) == [([2], "m1"), ([1, 2], "m2")]


@pytest.mark.parametrize("fault", [Refused(Reason.GROUP_NOT_FOUND), Unavailable("away")])
@pytest.mark.gen_test
async def test_a_group_whose_members_cannot_be_had_holds_up_no_other(
    server: Server, fault: Exception
) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        _, told = made(pipeline, broken=fault, g=frozenset({1, 2}))
        store(told, 1, group="broken")
        store(told, 2)
        await told.tell()
        await until_async(lambda: _has(redis, 1))
        assert await told_of(redis) == [([2], "m2")]


@pytest.mark.gen_test
async def test_while_redis_is_away_the_newest_messages_wait(server: Server) -> None:
    async with pipelined(server) as pipeline:
        notices, told = made(pipeline, size=3, g=frozenset({1, 2}))
        server.kill()
        await until(lambda: not pipeline.healthy)
        for seq in range(1, 6):
            store(told, seq)
        with pytest.raises(Unavailable):
            await told.tell()
        assert (len(told), notices.dropped) == (3, 2)
        async with telling(told):
            server.start()
            await until(lambda: pipeline.healthy)
            async with connected(server) as redis:
                await until_async(lambda: _has(redis, 3))
                assert await told_of(redis) == [([2], "m3"), ([2], "m4"), ([2], "m5")]


@pytest.mark.gen_test
async def test_a_fault_of_ours_is_logged_and_the_next_messages_are_told(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        _, told = made(pipeline, g=frozenset({1, 2}))
        with capture_logs() as logs:
            async with telling(told):
                store(told, 1, group="unknown to the lists")
                await until(lambda: logs)
                store(told, 2)
                await until_async(lambda: _has(redis, 1))
    assert [each["event"] for each in logs] == ["webhook_failed"]


async def _has(redis: Redis, count: int) -> bool:
    return await redis.xlen(STREAM_KEY) == count
