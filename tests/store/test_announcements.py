"""What friends were told: nodes that did not hear it find it, also when Redis was emptied."""

import pytest

from skyeim_ws.store.announcements import RedisAnnouncements
from skyeim_ws.store.keys import EPOCH_KEY
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until_async


async def tell(announcements: RedisAnnouncements, *users: int) -> None:
    for user_id in users:
        assert await announcements.tell(user_id, [9], b"frame", online=True, again=False)


@pytest.mark.gen_test
async def test_what_was_told_since_a_position_is_found(server: Server) -> None:
    async with pipelined(server) as pipeline:
        announcements = RedisAnnouncements(pipeline, "node")
        await tell(announcements, 1, 2)
        position = await announcements.position()
        assert await announcements.since(position) == []
        await tell(announcements, 3)
        assert await announcements.tell(1, [9], b"frame", online=False, again=False)
        assert not await announcements.tell(1, [9], b"frame", online=False, again=False)
        assert await announcements.since(position) == [3, 1]
        assert await announcements.told([1, 2, 3]) == [False, True, True]


@pytest.mark.gen_test
async def test_after_redis_was_emptied_all_is_news(server: Server) -> None:
    """Numbers begin anew then, and one of long ago says nothing."""
    async with pipelined(server) as pipeline, connected(server) as redis:
        announcements = RedisAnnouncements(pipeline, "node")
        await redis.set(EPOCH_KEY, "first")
        await tell(announcements, 1, 2, 3)
        position = await announcements.position()
        await redis.flushall()
        await tell(announcements, 1, 2)
        assert await announcements.since(position) == [1, 2]
        await redis.set(EPOCH_KEY, "second")
        await tell(announcements, 3, 4, 5)
        assert await announcements.since(position) == [1, 2, 3, 4, 5]
        assert await announcements.since(await announcements.position()) == []


@pytest.mark.gen_test
async def test_users_are_looked_at_when_it_is_time_and_once(server: Server) -> None:
    async with pipelined(server) as pipeline:
        announcements = RedisAnnouncements(pipeline, "node")
        announcements.later([1, 2], 0.0)
        announcements.later([3], 60.0)
        assert await until_async(announcements.due) == [1, 2]
        assert await announcements.due() == []
        announcements.later([3], 0.0)
        assert await until_async(announcements.due) == [3]
