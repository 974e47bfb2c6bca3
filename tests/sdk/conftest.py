"""A chat in the process of the test, for the tests of clients."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.sdk import people
from tests.sdk.people import SDKS, MakePerson
from tests.store.servers import Server, running_server
from tests.world import World, world

MakeWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(params=SDKS)
def person(request: pytest.FixtureRequest) -> MakePerson:
    """Run an SDK for a user: `async with person(url, token) as alice`."""
    return partial(people.person, request.param)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def make_world(shared_redis: Server) -> MakeWorld:
    """Give a chat on an empty Redis, with settings for the `WebSocket` section."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[World]:
        with redis.Redis(unix_socket_path=str(shared_redis.socket)) as client:
            client.flushall()
        with tempfile.TemporaryDirectory(prefix="skyeim-") as path:
            async with world(shared_redis.socket, Path(path), **settings) as made:
                yield made

    return make
