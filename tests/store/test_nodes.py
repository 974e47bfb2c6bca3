"""Leases: a node that dies is noticed and cleaned up after, once; one that lives comes back."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from skyeim_ws.store.keys import NODES_KEY, session_key
from skyeim_ws.store.nodes import NodeLease, node_sessions_key
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.presence import RedisPresence
from skyeim_ws.store.sessions import RedisSessions
from tests.lives import lifeless
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until, until_async

RENEW, DEAD_AFTER = 0.05, 0.4


class Node:
    """A node with all that others see of it; `vanish` ends it as a crash does."""

    def __init__(self, name: str, stack: AsyncExitStack) -> None:
        self.name = name
        self.lost = 0
        self.gone: list[int] = []
        self.moved: list[int] = []
        self.lease: NodeLease
        self.sessions: RedisSessions
        self.presence: RedisPresence
        self._stack = stack

    async def open(self, server: Server, dead_after: float = DEAD_AFTER) -> None:
        pipeline = await self._stack.enter_async_context(pipelined(server))
        queue = RedisOfflineQueue(pipeline, size=10, ttl=60)
        self.sessions = RedisSessions(pipeline, queue, self.name)
        self.presence = RedisPresence(pipeline)
        self.lease = NodeLease(
            pipeline, self.sessions, self.name, renew_seconds=RENEW, dead_after=dead_after
        )

        def on_lost() -> None:
            self.lost += 1

        def on_reaped(gone: Sequence[int], moved: Sequence[int]) -> None:
            self.gone += gone
            self.moved += moved

        self.renewing = self.lease.start(on_lost=on_lost, on_reaped=on_reaped)

    async def login(self, user_id: int, conn_id: str, *groups: str) -> None:
        self.lease.enter(user_id, conn_id, groups)
        await self.sessions.claim(user_id, conn_id, 20)
        await self.presence.enter(user_id, groups)

    def vanish(self) -> None:
        """Renew no more, and take nothing back."""
        self.renewing.cancel()

    def wake(self) -> None:
        """Go on as a process does that was stopped for a while."""

        def on_reaped(_gone: Sequence[int], _moved: Sequence[int]) -> None:
            return

        def on_lost() -> None:
            self.lost += 1

        self.renewing = self.lease.start(on_lost=on_lost, on_reaped=on_reaped)


@asynccontextmanager
async def cluster(server: Server, *names: str) -> AsyncIterator[tuple[Redis, list[Node]]]:
    """Run nodes; their leases end in order, but for those that have vanished."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connected(server))
        found = [Node(name, stack) for name in names]
        for node in found:
            await node.open(server)
            stack.push_async_callback(node.lease.close)
        await until_async(lambda: _listed(redis, *names))
        yield redis, found


async def _listed(redis: Redis, *names: str) -> bool:
    listed: list[Any] = list(await redis.zrange(NODES_KEY, 0, -1))
    return {name.decode() for name in listed} == set(names)


@pytest.mark.gen_test
async def test_a_dead_node_is_cleaned_up_after(server: Server) -> None:
    async with cluster(server, "doomed", "alive") as (redis, [doomed, alive]):
        await doomed.login(1, "c1", "g")
        await doomed.login(2, "c2")
        await alive.login(3, "c3", "g")
        with capture_logs() as logs:
            doomed.vanish()
            await until(lambda: len(alive.gone) == 2)
        assert sorted(alive.gone) == [1, 2]
        assert alive.moved == []
        assert [(line["node"], line["users"]) for line in logs if line["event"] == "node_died"] == [
            ("doomed", 2)
        ]
        assert await redis.smembers("online:users") == {b"3"}
        assert await redis.smembers("group:online:g") == {b"3"}
        assert await redis.mget(session_key(1), session_key(2)) == [None, None]
        assert lifeless(await redis.get(session_key(3))) == b"alive c3"
        assert not await redis.exists(node_sessions_key("doomed"))
        assert await _listed(redis, "alive")


@pytest.mark.gen_test
async def test_who_has_moved_before_the_death_of_a_node_stays_online_and_is_told_of(
    server: Server,
) -> None:
    async with cluster(server, "doomed", "alive") as (redis, [doomed, alive]):
        await doomed.login(1, "c1", "g")
        await alive.login(1, "c2", "g")
        doomed.vanish()
        await until(lambda: alive.moved)
        assert (alive.gone, alive.moved) == ([], [1])
        assert await redis.smembers("online:users") == {b"1"}
        assert await redis.smembers("group:online:g") == {b"1"}
        assert (await alive.sessions.claim(1, "c3", 20)).missed


@pytest.mark.gen_test
async def test_one_node_alone_cleans_up(server: Server) -> None:
    async with cluster(server, "doomed", "east", "west") as (redis, [doomed, east, west]):
        for user in range(1, 51):
            await doomed.login(user, f"c{user}")
        with capture_logs() as logs:
            doomed.vanish()
            await until_async(lambda: _listed(redis, "east", "west"))
            await until(lambda: len(east.gone) + len(west.gone) == 50)
        assert [line["event"] for line in logs].count("node_died") == 1
        assert not await redis.keys("ws:reaper:*")


@pytest.mark.gen_test
async def test_a_node_that_was_taken_for_dead_hears_of_it_and_is_listed_again(
    server: Server,
) -> None:
    async with cluster(server, "paused", "alive") as (redis, [paused, alive]):
        await paused.login(1, "c1")
        paused.vanish()
        await until(lambda: alive.gone == [1])
        paused.wake()
        await until_async(lambda: _listed(redis, "paused", "alive"))
        await redis.zrem(NODES_KEY, "paused")
        await until(lambda: paused.lost == 1)
        [answer] = await paused.sessions.reclaim([(1, "c1")])
        assert answer.ours
        assert answer.missed, "what it had in its hands may have been given up"


@pytest.mark.gen_test
async def test_after_an_outage_of_redis_nobody_is_taken_for_dead(mortal: Server) -> None:
    """Every lease is old then, and all the nodes come back at about the same time."""
    async with cluster(mortal, "east", "west") as (redis, [east, west]):
        await east.login(1, "c1")
        await west.login(2, "c2")
        mortal.kill()
        await until(lambda: not (east.lease.listed or west.lease.listed))
        mortal.start()
        began = await _newest_seen(redis)

        async def steady() -> bool:
            return await _newest_seen(redis) > began + 3000 * DEAD_AFTER

        await until_async(steady)
        assert (east.gone, west.gone, east.lost, west.lost) == ([], [], 0, 0)
        assert await redis.smembers("online:users") == {b"1", b"2"}


async def _newest_seen(redis: Redis) -> float:
    """Return when a node was last seen, in ms by the clock of Redis, once it answers."""

    async def scores() -> list[float]:
        try:
            seen: list[Any] = list(await redis.zrange(NODES_KEY, 0, -1, withscores=True))
            return [score for _, score in seen]
        except Exception:  # it is starting
            return []

    return max(await until_async(scores))


@pytest.mark.gen_test
async def test_a_node_that_stops_in_order_leaves_nothing_to_clean_up(server: Server) -> None:
    async with cluster(server, "leaving", "alive") as (redis, [leaving, alive]):
        await leaving.login(1, "c1")
        await leaving.lease.leave([1])
        await leaving.lease.close()
        await until_async(lambda: _listed(redis, "alive"))
        assert not await redis.exists(node_sessions_key("leaving"))
        assert alive.gone == []


@pytest.mark.gen_test
async def test_a_node_that_stops_with_users_listed_is_cleaned_up_after(server: Server) -> None:
    """It had no time to undo their logins, and nobody else knows of them."""
    async with cluster(server, "leaving", "alive") as (redis, [leaving, alive]):
        await leaving.login(1, "c1", "g")
        await leaving.lease.close()
        await until(lambda: alive.gone == [1])
        assert await redis.keys("*online*") == []


@pytest.mark.gen_test
async def test_what_is_unreadable_or_refused_does_not_block_the_cleaning_up(server: Server) -> None:
    async with cluster(server, "doomed", "alive") as (redis, [doomed, alive]):
        await doomed.login(1, "c1", "g", "h")
        await doomed.login(2, "c2", "g")
        key = node_sessions_key("doomed")
        for field, value in {"x": "[]", "3": "{", "4": "[]", "5": '["c", 1]'}.items():
            await redis.hset(key, field, value)
        await redis.delete(session_key(2))
        await redis.lpush(session_key(2), "of another program")
        await redis.set("group:online:h", "of another program")
        with capture_logs() as logs:
            doomed.vanish()
            await until(lambda: sorted(alive.gone) == [1, 2])
        [line] = [line for line in logs if line["event"] == "node_sessions_unreadable"]
        assert line["count"] == 4
        await until_async(lambda: _listed(redis, "alive"))
        assert not await redis.exists(key, "online:users", "group:online:g", session_key(1))


@pytest.mark.gen_test
async def test_a_redis_that_was_emptied_is_noticed(server: Server) -> None:
    async with cluster(server, "only") as (redis, [only]):
        await until_async(lambda: redis.exists("ws:epoch"))
        await until(lambda: only.lease.listed)
        with capture_logs() as logs:
            await redis.flushall()
            await until(lambda: only.lost == 1)
        assert [line["event"] for line in logs] == ["redis_was_emptied"]
        await until_async(lambda: _listed(redis, "only"))
        assert only.lost == 1
