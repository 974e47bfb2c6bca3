"""Readiness: red with the reason by name while something is wrong, and green again after it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from skyeim_ws.config.tree import DevServerConf, ShutdownConf
from skyeim_ws.gateway.readiness import LOOP_LAG, Readiness
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.ops.build import build
from tests.gateway.conftest import MakeWorld
from tests.ports import free_port
from tests.store.servers import Server, running_server
from tests.waiting import until_async
from tests.world import World
from tests.world import world as run_world

RED = 503


@pytest.fixture
def mortal_redis() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def make_ready_world(mortal_redis: Server, tmp_path: Path) -> MakeWorld:
    """Run a chat with a port for operators, over a Redis that the test may change."""
    dev = DevServerConf(enabled=True, port=free_port())
    settings: dict[str, Any] = {"dev_server": dev}
    return partial(
        run_world, mortal_redis.socket, tmp_path, settings=settings, node_renew_interval=0.2
    )


async def probed(world: World, path: str = "/readyz") -> tuple[int, str]:
    """Return what a balancer is answered."""
    url = f"http://127.0.0.1:{world.config.dev_server.port}{path}"
    answer = await world.http.fetch(url, raise_error=False)
    return answer.code, answer.body.decode()


async def becomes(world: World, *reasons: str) -> None:
    """Wait until these are the reasons, and see that both places tell them."""
    wanted = (RED, ", ".join(reasons)) if reasons else (200, "OK")

    async def told() -> bool:
        return await probed(world) == wanted

    await until_async(told)
    health = await world.get("/health")
    status = {"status": "degraded", "reasons": list(reasons)} if reasons else {"status": "ok"}
    # It serves all the same.
    assert (health.code, json.loads(health.body)) == (200, {"online": 0, **build()} | status)
    assert await probed(world, "/healthz") == (200, "OK")


async def admin(redis: Redis, words: str) -> None:
    await redis.execute_command(*words.split())  # type: ignore[no-untyped-call]


@pytest.mark.gen_test
async def test_redis_that_is_away_and_back(
    make_ready_world: MakeWorld, mortal_redis: Server
) -> None:
    async with make_ready_world() as world:
        await becomes(world)
        mortal_redis.kill()
        await becomes(world, "redis_away")
        mortal_redis.start()
        await becomes(world)


@pytest.mark.gen_test
async def test_redis_that_takes_no_writes(
    make_ready_world: MakeWorld, mortal_redis: Server
) -> None:
    async with (
        make_ready_world() as world,
        Redis(unix_socket_path=str(mortal_redis.socket)) as redis,
    ):
        await becomes(world)
        # No script may add anything now.
        await admin(redis, "CONFIG SET maxmemory 1")
        await becomes(world, "redis_takes_no_writes")
        await admin(redis, "CONFIG SET maxmemory 0")
        await becomes(world)


@pytest.mark.gen_test
async def test_what_redis_does_not_let_its_user_do(
    make_ready_world: MakeWorld, mortal_redis: Server
) -> None:
    async with (
        make_ready_world() as world,
        Redis(unix_socket_path=str(mortal_redis.socket)) as redis,
    ):
        await becomes(world)
        await admin(redis, "ACL SETUSER default -lrem")
        with pytest.raises(Unavailable):
            await world.gateway.pipeline.call(("LREM", "offline:private:1001", 1, ""))
        await becomes(world, "redis_refuses_access")


@pytest.mark.gen_test
async def test_channels_that_redis_does_not_let_its_user_hear(
    make_ready_world: MakeWorld, mortal_redis: Server
) -> None:
    async with (
        make_ready_world() as world,
        Redis(unix_socket_path=str(mortal_redis.socket)) as redis,
    ):
        await becomes(world)
        await admin(redis, "ACL SETUSER default resetchannels")
        await becomes(world, "bus_not_heard")
        await admin(redis, "ACL SETUSER default allchannels")
        await becomes(world)


@pytest.mark.gen_test
async def test_services_that_are_away(make_ready_world: MakeWorld) -> None:
    async with make_ready_world() as world:
        await becomes(world)
        await world.stop_services()
        names = ("message", "friend", "group")
        await becomes(world, *(f"{name}_service_away" for name in names))
        await world.start_services()
        await becomes(world)


@pytest.mark.gen_test
async def test_a_node_that_stops(make_ready_world: MakeWorld) -> None:
    async with make_ready_world() as world:
        await becomes(world)
        await world.gateway.drain.stop(ShutdownConf(wrap_up_time=0, wait_time=5))
        assert await probed(world) == (RED, "stopping")


def well(**parts: Any) -> Readiness:
    """Return the readiness of a node of which all parts are well but for those given."""
    store = {
        "pipeline": SimpleNamespace(healthy=True, access_refused=False),
        "lease": SimpleNamespace(renewed=True),
        "bus": SimpleNamespace(complete=True),
    }
    quiet: dict[str, Any] = {
        "supervisor": SimpleNamespace(failed=SimpleNamespace(is_set=lambda: False)),
        "heartbeat": SimpleNamespace(lag=0.0),
        "store": SimpleNamespace(**store),
        "pools": (),
        "drain": SimpleNamespace(idle=False, stopping=False),
    }
    return Readiness(**(quiet | parts))


def test_a_loop_that_lags_is_named() -> None:
    assert well()() == []
    assert well(heartbeat=SimpleNamespace(lag=LOOP_LAG + 0.1))() == ["loop_lags"]


def test_calls_that_fail_are_named_by_their_service() -> None:
    pools = [
        SimpleNamespace(name="message", ready=1, serving=True, throttled=1),
        SimpleNamespace(name="friend", ready=1, serving=False, throttled=0),
        SimpleNamespace(name="group", ready=0, serving=True, throttled=0),
    ]
    assert well(pools=pools)() == [
        "message_calls_fail",
        "friend_service_unhealthy",
        "group_service_away",
    ]
