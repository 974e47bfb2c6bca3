"""The Redis that the tests of the whole gateway share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.store.servers import Server, running_server
from tests.world import World, world

MakeWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: Server) -> Server:
    """An empty Redis that the test must leave running."""
    with redis.Redis(unix_socket_path=str(shared_redis.socket)) as client:
        client.flushall()
    return shared_redis


@pytest.fixture
def make_world(redis_server: Server, tmp_path: Path) -> MakeWorld:
    """Run a chat of one's own: `async with make_world(...) as world`."""
    return partial(world, redis_server.socket, tmp_path)
