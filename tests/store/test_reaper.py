"""Cleaning up after a dead node takes as long as it takes: the one that does it stays alive."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from skyeim_ws.store.keys import NODES_KEY
from skyeim_ws.store.nodes import NodeLease, node_sessions_key
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.sessions import RedisSessions
from tests.store.servers import Server, connected, pipelined
from tests.waiting import DEADLINE, until_async


async def seen(redis: Redis, node: str) -> float:
    """Return when the node was last seen, in ms; 0 if it is not listed."""
    return float(await redis.zscore(NODES_KEY, node) or 0)


class Slow(RedisSessions):
    """Takes for ever to clean up."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline, RedisOfflineQueue(pipeline, size=10, ttl=60), "alive")
        self.reaping = asyncio.Event()

    async def reap(self, _sessions: Sequence[tuple[int, str]]) -> list[int]:
        self.reaping.set()
        await asyncio.Event().wait()
        return []


@pytest.mark.gen_test
async def test_a_node_renews_its_lease_while_it_cleans_up_after_another(server: Server) -> None:
    """Else the others would take it for dead in its turn."""
    async with pipelined(server) as pipeline, connected(server) as redis:
        await redis.zadd(NODES_KEY, {"dead": 1})
        await redis.hset(node_sessions_key("dead"), "1", '["c1"]')
        sessions = Slow(pipeline)
        lease = NodeLease(pipeline, sessions, "alive", renew_seconds=0.02, dead_after=0.1)
        lease.start(on_lost=lambda: None, on_reaped=lambda _gone, _moved: None)
        try:
            async with asyncio.timeout(DEADLINE):
                await sessions.reaping.wait()
            began = await seen(redis, "alive")

            async def renewed() -> bool:
                return await seen(redis, "alive") > began + 100

            await until_async(renewed)
        finally:
            await lease.close()
