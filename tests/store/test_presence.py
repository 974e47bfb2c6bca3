"""Who is online, in a real Redis."""

import pytest

from skyeim_ws.store.presence import CHUNK, RedisPresence
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until


@pytest.mark.gen_test
async def test_entering_writes_user_and_groups_and_counts_the_users(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        presence = RedisPresence(pipeline)
        assert await presence.enter(1, ["a", "b"]) == 1
        assert await presence.enter(2, ["b"]) == 2
        assert await presence.enter(2, []) == 2
        assert await client.smembers("online:users") == {b"1", b"2"}
        assert await client.smembers("group:online:a") == {b"1"}
        assert await client.smembers("group:online:b") == {b"1", b"2"}


@pytest.mark.gen_test
async def test_leaving_takes_the_user_out_everywhere(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        presence = RedisPresence(pipeline)
        await presence.enter(1, ["a", "b"])
        await presence.enter(2, ["b"])
        await presence.leave({1: ["a", "b"]})
        assert await presence.online([1, 2]) == [2]
        assert await client.keys("group:online:*") == [b"group:online:b"]


@pytest.mark.gen_test
async def test_online_keeps_the_order_and_asks_nothing_for_nobody(server: Server) -> None:
    async with pipelined(server) as pipeline:
        presence = RedisPresence(pipeline)
        for user_id in (5, 3, 9):
            await presence.enter(user_id, [])
        assert await presence.online([9, 4, 3, 5]) == [9, 3, 5]
        assert await presence.online([]) == []


@pytest.mark.gen_test
async def test_clearing_forgets_presence_and_nothing_else(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        presence = RedisPresence(pipeline)
        await presence.enter(1, [f"g{number}" for number in range(3 * CHUNK)])
        await client.set("other", 1)
        await presence.clear()
        assert await client.keys("*") == [b"other"]


@pytest.mark.gen_test
async def test_resync_writes_all_users_and_groups(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        presence = RedisPresence(pipeline)
        users = {user_id: ["all", f"g{user_id}"] for user_id in range(1, 2 * CHUNK)}
        presence.resync(users)
        await presence.leave({1: ["all", "g1"]})
        assert await presence.online([1, 2]) == [2]
        assert await client.scard("online:users") == len(users) - 1
        assert await client.scard("group:online:all") == len(users) - 1
        assert await client.smembers("group:online:g7") == {b"7"}


@pytest.mark.gen_test
async def test_nothing_is_written_again_before_the_outage_is_over(mortal: Server) -> None:
    """Else it would push undelivered messages out of the bounded queue."""
    async with pipelined(mortal) as pipeline:
        presence = RedisPresence(pipeline)
        await presence.enter(1, ["a"])
        mortal.kill()
        await until(lambda: not pipeline.healthy)
        presence.resync({1: ["a"]})
        assert pipeline.waiting == 0
        mortal.start()
        await until(lambda: pipeline.healthy)
        presence.resync({1: ["a"]})
        await until(lambda: not pipeline.waiting)
        assert await presence.online([1]) == [1]
