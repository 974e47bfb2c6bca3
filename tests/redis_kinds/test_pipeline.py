"""The ordered way to Redis on a cluster and on a sentinel set, whose servers die and move."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store.client import connect
from skyeim_ws.store.keys import missed_key, queue_key, session_key
from skyeim_ws.store.pipeline import MAX_BATCH, Pipeline
from tests.long import LONG
from tests.redis_kinds.servers import HOST, ClusterServers, Node, SentinelServers
from tests.waiting import DEADLINE, until, until_async

pytestmark = pytest.mark.xdist_group("redis_kinds")

FAULTS = [("cluster", Node.kill), ("sentinel", Node.freeze)]
if LONG:
    FAULTS += [("cluster", Node.freeze), ("sentinel", Node.kill)]

Servers = ClusterServers | SentinelServers


@asynccontextmanager
async def pipelined(conf: RedisConf) -> AsyncIterator[Pipeline]:
    client = connect(conf.address)
    pipeline = Pipeline(client)
    pipeline.start()
    try:
        yield pipeline
    finally:
        await pipeline.close(5)
        await client.aclose()


async def answered(pipeline: Pipeline, *command: str | int) -> Any:
    """Ask until there is an answer: during a failover there is none."""

    async def asked() -> list[Any]:
        try:
            return await pipeline.call(command)
        except Unavailable:
            return []

    [answer] = await until_async(asked)
    return answer


def events(logs: Sequence[Mapping[str, object]]) -> list[object]:
    return [entry["event"] for entry in logs]


def master_of(servers: Servers, key: str) -> Node:
    return servers.owner(key) if isinstance(servers, ClusterServers) else servers.master()


def on_different_masters(cluster: ClusterServers) -> list[str]:
    """Return a key of each master."""
    found: dict[int, str] = {}
    for number in itertools.count():
        found.setdefault(cluster.owner(f"k{number}").port, f"k{number}")
        if len(found) == 3:
            return list(found.values())
    raise AssertionError


@pytest.mark.parametrize("user_id", [1, 1001, 2**62])
def test_all_keys_of_one_script_lie_in_one_slot(cluster: ClusterServers, user_id: int) -> None:
    slots = {
        cluster.nodes[0].ask("CLUSTER", "KEYSLOT", key)
        for key in (queue_key(user_id), session_key(user_id), missed_key(user_id))
    }
    assert len(slots) == 1


@pytest.mark.gen_test
async def test_the_answers_of_all_masters_come_in_the_order_of_the_questions(
    cluster: ClusterServers,
) -> None:
    async with pipelined(cluster.conf) as pipeline:
        keys = [f"k{number}" for number in range(50)]
        for number, key in enumerate(keys):
            pipeline.submit(("RPUSH", key, number), ("RPUSH", key, number + 1))
        reads = [("LRANGE", key, 0, -1) for key in keys]
        assert await pipeline.call(*reads) == [[b"%d" % n, b"%d" % (n + 1)] for n in range(50)]
        assert await pipeline.call(("PING",), ("PUBLISH", "nowhere", "x")) == [b"PONG", 0]


@pytest.mark.gen_test
@pytest.mark.parametrize(("servers", "fault"), FAULTS, indirect=["servers"])
async def test_the_death_of_a_master_loses_no_write_and_keeps_the_order(
    servers: Servers, fault: Callable[[Node], None]
) -> None:
    """Whatever was under way is repeated from its beginning, so no list ever steps forward."""
    keys = on_different_masters(servers) if isinstance(servers, ClusterServers) else ["list"]
    count = 3000
    recovered = []
    async with pipelined(servers.conf) as pipeline:
        pipeline.on_recovered.append(lambda: recovered.append(True))
        with capture_logs() as logs:
            for number in range(count):
                for key in keys:
                    pipeline.submit(("RPUSH", key, number))
                if number % 20 == 0:
                    await asyncio.sleep(0)
                if number == count // 2:
                    await until(lambda: pipeline.waiting < MAX_BATCH)
                    lost = master_of(servers, keys[0])
                    fault(lost)
                if number == count * 3 // 4:
                    await until(lambda: not pipeline.healthy)
            await until(lambda: not pipeline.waiting and pipeline.healthy)
            for key in keys:
                found = [int(value) for value in await answered(pipeline, "LRANGE", key, 0, -1)]
                assert sorted(set(found)) == list(range(count))
                assert max(after - before for before, after in itertools.pairwise(found)) == 1
        assert pipeline.dropped == pipeline.failed == 0
    lost.kill()
    assert recovered
    assert {"redis_lost", "redis_recovered"} <= set(events(logs))


@pytest.mark.gen_test
async def test_a_shard_without_a_server_holds_up_its_own_keys_alone(
    cluster: ClusterServers,
) -> None:
    keys = on_different_masters(cluster)
    dead = cluster.owner(keys[0])
    replica = next(
        node
        for node in cluster.nodes
        if int(node.info("replication").get("master_port", 0)) == dead.port
    )
    for node in cluster.nodes:
        node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    try:
        async with pipelined(cluster.conf) as pipeline:
            await answered(pipeline, "PING")
            replica.kill()
            dead.kill()
            pipeline.submit(("RPUSH", keys[0], 1))
            await until(lambda: not pipeline.healthy)
            for number in range(5):
                pipeline.submit(("RPUSH", keys[1], number))
            assert await answered(pipeline, "LRANGE", keys[1], 0, -1) == [
                b"%d" % n for n in range(5)
            ]
            pipeline.publish(("INCR", keys[2]))
            assert await answered(pipeline, "GET", keys[2]) == b"1"
            assert not pipeline.healthy
            assert pipeline.waiting == 1
            dead.start()
            await until(lambda: pipeline.healthy)
            assert await answered(pipeline, "LRANGE", keys[0], 0, -1) == [b"1"]
    finally:
        cluster.heal()
        for node in cluster.nodes:
            node.ask("CONFIG", "SET", "cluster-require-full-coverage", "yes")


@pytest.mark.gen_test
async def test_a_slot_that_moves_is_followed(cluster: ClusterServers) -> None:
    """ASK while it is on its way, MOVED when it has arrived."""
    key = "moving"
    source = cluster.owner(key)
    target = next(node for node in cluster.masters() if node is not source)
    slot = source.ask("CLUSTER", "KEYSLOT", key)
    ids = {node.port: node.ask("CLUSTER", "MYID").decode() for node in (source, target)}
    async with pipelined(cluster.conf) as pipeline:
        await pipeline.call(("GET", key))
        with capture_logs() as logs:
            target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
            source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
            for number in range(3):
                pipeline.submit(("RPUSH", key, number))
            assert await pipeline.call(("LRANGE", key, 0, -1)) == [[b"0", b"1", b"2"]]
            for node in (target, source):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])
            pipeline.submit(("RPUSH", key, 3))
            assert await pipeline.call(("LLEN", key)) == [4]
            assert cluster.owner(key) is target
        assert pipeline.healthy
    assert "redis_lost" not in events(logs)


@pytest.mark.gen_test
async def test_a_write_waits_for_a_replica_and_not_for_one_that_is_gone(
    sentinel: SentinelServers,
) -> None:
    master = sentinel.master()
    replicas = [node for node in sentinel.nodes if node is not master]
    async with pipelined(sentinel.conf) as pipeline:
        with capture_logs() as logs:
            for replica in replicas:
                replica.kill()
            for number in range(3):
                pipeline.submit(("RPUSH", "list", number))
                await pipeline.call(("PING",))
            for replica in replicas:
                replica.start()
            async with asyncio.timeout(DEADLINE):
                while "redis_replicas_keep_up" not in events(logs):
                    pipeline.submit(("RPUSH", "list", 3))
                    await pipeline.call(("PING",))
        assert (await pipeline.call(("LRANGE", "list", 0, 2))) == [[b"0", b"1", b"2"]]
    assert events(logs).count("redis_replicas_lag") == 1


@pytest.mark.gen_test
async def test_a_dead_sentinel_is_passed_over(sentinel: SentinelServers) -> None:
    sentinel.sentinels[0].kill()
    async with pipelined(sentinel.conf) as pipeline:
        assert await answered(pipeline, "ECHO", "x") == b"x"


@pytest.mark.gen_test
async def test_a_node_of_the_configuration_that_is_gone_is_passed_over(
    cluster: ClusterServers,
) -> None:
    dead, alive = cluster.nodes[3], cluster.nodes[0]
    dead.kill()
    conf = replace(cluster.conf, host=f"{HOST}:{dead.port},{HOST}:{alive.port}")
    async with pipelined(conf) as pipeline:
        assert await answered(pipeline, "SET", "k", 1)
