"""An address of Redis that leads to another server: all connections follow it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.services.shared_redis import open_redis
from tests.store.servers import Server, running_server
from tests.waiting import until, until_async
from tests.world import world as run_world

CHANNELS = [b"__redis__:invalidate", b"ws:broadcast"]
"""Of the subscription and of the tracking."""


async def demote(redis: Redis) -> None:
    """Make it a replica: it lives on, with all its connections, and refuses writes."""
    await redis.replicaof("127.0.0.1", "1")


@pytest.fixture
def old_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def new_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def address(old_server: Server, tmp_path: Path) -> Path:
    """The address that moves."""
    link = tmp_path / "redis"
    link.symlink_to(old_server.socket)
    return link


def move(address: Path, to: Server) -> None:
    address.unlink()
    address.symlink_to(to.socket)


def client_of(server: Server) -> Redis:
    return Redis(unix_socket_path=str(server.socket))


@pytest.mark.gen_test
async def test_a_node_follows_an_address_that_has_moved_to_another_master(
    old_server: Server, new_server: Server, address: Path, tmp_path: Path
) -> None:
    async with (
        client_of(old_server) as old,
        client_of(new_server) as new,
        run_world(address, tmp_path, node_renew_interval=0.5) as world,
    ):
        alice = await world.login(1001)
        assert {*CHANNELS} <= {*await old.pubsub_channels()}
        await demote(old)
        move(address, new_server)

        async def followed() -> bool:
            return {*CHANNELS} <= {*await new.pubsub_channels()}

        await until_async(followed)
        assert await old.pubsub_channels() == []
        await until(lambda: not world.gateway.pipeline.waiting)
        # What needs Redis: a message for somebody who is not here.
        await alice.persist("chat", msg_id="m-1", toUserId=1003)
        assert await new.llen("offline:private:1003") == 1


@pytest.mark.gen_test
async def test_the_services_follow_it_too(
    old_server: Server, new_server: Server, address: Path
) -> None:
    async with client_of(old_server) as old, client_of(new_server) as new:
        client = open_redis(RedisAddress(hosts=(str(address),)))
        try:
            await client.incr("group:seq:g")
            await demote(old)
            move(address, new_server)

            async def counted() -> bool:
                try:
                    await client.incr("group:seq:g")
                except Exception:
                    return False
                return True

            await until_async(counted)
            assert await new.get("group:seq:g") == b"1"
        finally:
            await client.aclose()
