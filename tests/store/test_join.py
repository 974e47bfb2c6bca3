"""A node whose channel format does not fit the others: it never joins them."""

import asyncio
from collections.abc import Iterator

import pytest

from skyeim_ws.store import records
from skyeim_ws.store.keys import NODES_KEY
from skyeim_ws.store.nodes import NodeLease
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.records import NodeRecord
from skyeim_ws.store.sessions import RedisSessions
from tests.store.servers import Server, connected, pipelined, running_server
from tests.waiting import DEADLINE, until


@pytest.fixture
def server() -> Iterator[Server]:
    """A Redis that the test may kill."""
    with running_server() as started:
        yield started


@pytest.mark.gen_test
async def test_where_redis_was_away_at_the_start_it_is_found_when_that_is_back(
    server: Server,
) -> None:
    async with connected(server) as redis:
        seconds, _ = await redis.time()
        await redis.zadd(NODES_KEY, {"newer": 1000 * seconds})
        newer = NodeRecord(version="9.9.9", format=9, oldest_format=9)
        await redis.hset(records.RECORDS_KEY, "newer", records.encode(newer))
    async with pipelined(server, timeout=0.5) as pipeline:
        server.kill()
        sessions = RedisSessions(pipeline, RedisOfflineQueue(pipeline), "late")
        lease = NodeLease(pipeline, sessions, "late", renew_seconds=0.02, dead_after=600)
        refused = asyncio.Event()
        lease.start(on_lost=lambda: None, on_reaped=lambda *_: None, on_refused=refused.set)
        await until(lambda: not pipeline.healthy)
        server.start()
        async with asyncio.timeout(DEADLINE):
            await refused.wait()
        assert "newer (version 9.9.9) uses the channel format 9" in lease.refused
        await lease.close()
    async with connected(server) as redis:
        assert await redis.zrange(NODES_KEY, 0, -1) == [b"newer"]


@pytest.mark.parametrize(
    ("own", "other", "fits"),
    [
        ((1, 1), (1, 1), True),
        ((1, 1), (2, 2), False),
        ((1, 1), (2, 1), True),
        ((3, 2), (1, 1), False),
        ((3, 2), (2, 1), True),
    ],
)
def test_two_fit_if_the_newer_one_knows_the_older(
    own: tuple[int, int], other: tuple[int, int], fits: bool
) -> None:
    first, second = (NodeRecord(format=now, oldest_format=old) for now, old in (own, other))
    assert first.fits(second) is second.fits(first) is fits
