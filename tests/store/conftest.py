"""Real Redis servers for the tests of this room."""

from collections.abc import Iterator

import pytest
import redis

from tests.store.servers import Server, running_server


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """An empty Redis that the test must leave running."""
    with redis.Redis(unix_socket_path=str(shared_server.socket)) as client:
        client.flushall()
    return shared_server


@pytest.fixture
def mortal() -> Iterator[Server]:
    """An empty Redis that the test may kill."""
    with running_server() as server:
        yield server
