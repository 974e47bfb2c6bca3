"""What friends were told: nodes that did not hear it find it, also when Redis was emptied."""

import pytest

from skyeim_ws.store.announcements import RedisAnnouncements
from skyeim_ws.store.keys import EPOCH_KEY, node_channel, session_key
from skyeim_ws.store.messages import FrameMessage, decode
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.sessions import RedisSessions
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until_async


def announcements_of(pipeline: Pipeline, node: str) -> RedisAnnouncements:
    sessions = RedisSessions(pipeline, RedisOfflineQueue(pipeline), node)
    return RedisAnnouncements(pipeline, sessions, node)


async def tell(announcements: RedisAnnouncements, *users: int) -> None:
    for user_id in users:
        assert await announcements.tell(user_id, [9], b"frame", online=True, again=False)


@pytest.mark.gen_test
async def test_what_was_told_since_a_position_is_found(server: Server) -> None:
    async with pipelined(server) as pipeline:
        announcements = announcements_of(pipeline, "node")
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
        announcements = announcements_of(pipeline, "node")
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
        announcements = announcements_of(pipeline, "node")
        announcements.later([1, 2], 0.0)
        announcements.later([3], 60.0)
        assert await until_async(announcements.due) == [1, 2]
        assert await announcements.due() == []
        announcements.later([3], 0.0)
        assert await until_async(announcements.due) == [3]


@pytest.mark.gen_test
async def test_only_the_nodes_of_friends_are_told_each_of_its_own(server: Server) -> None:
    """And not the node that tells; friends are found in one question for all of them."""
    async with pipelined(server) as pipeline, connected(server) as redis:
        await redis.config_resetstat()
        for user_id, session in ((1, "east c"), (2, "west c"), (3, "east c"), (4, "clean")):
            await redis.set(session_key(user_id), session)
        await redis.set(session_key(6), "node c")
        announcements = announcements_of(pipeline, "node")
        async with redis.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.psubscribe("ws:*")
            await heard.get_message(timeout=10)
            await announcements.tell(9, [1, 2, 3, 4, 5, 6], b"frame", online=True, again=False)
            assert not await announcements.tell(9, [1], b"frame", online=True, again=False)
            await redis.publish("ws:last", "")
            told = {}
            while (message := await heard.get_message(timeout=10)) is not None:
                if message["channel"] == b"ws:last":
                    break
                told[message["channel"].decode()] = decode(message["data"])
        assert told == {
            node_channel("east"): FrameMessage("node", [1, 3], b"frame"),
            node_channel("west"): FrameMessage("node", [2], b"frame"),
        }
        stats = await redis.info("commandstats")
        assert stats["cmdstat_mget"]["calls"] == 2  # one for each of both
