"""Cleaning up after a dead node takes as long as it takes: the one that does it stays alive."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from skyeim_ws.store.nodes import NODES_KEY, NodeLease
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.sessions import RedisSessions
from tests.store.servers import Server, connected, pipelined
from tests.waiting import DEADLINE, until_async


async def seen(redis: Redis, node: str) -> float:
    """Return when the node was last seen, in ms; 0 if it is not listed."""
    return float(await redis.zscore(NODES_KEY, node) or 0)


@pytest.mark.gen_test
async def test_a_node_renews_its_lease_while_it_tells_of_the_dead(server: Server) -> None:
    """Else the others would take it for dead in its turn."""
    telling = asyncio.Event()

    async def tell_forever(_gone: Sequence[int], _moved: Sequence[int]) -> None:
        telling.set()
        await asyncio.Event().wait()

    async with pipelined(server) as pipeline, connected(server) as redis:
        await redis.zadd(NODES_KEY, {"dead": 1})
        sessions = RedisSessions(pipeline, RedisOfflineQueue(pipeline, size=10, ttl=60), "alive")
        lease = NodeLease(pipeline, sessions, "alive", renew_seconds=0.02, dead_after=0.1)
        lease.start(on_lost=lambda: None, on_reaped=tell_forever)
        try:
            async with asyncio.timeout(DEADLINE):
                await telling.wait()
            told_at = await seen(redis, "alive")

            async def renewed() -> bool:
                return await seen(redis, "alive") > told_at + 100

            await until_async(renewed)
            assert await redis.zrange(NODES_KEY, 0, -1) == [b"alive"]
        finally:
            await lease.close()
