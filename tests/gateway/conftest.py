"""The Redis that the tests of the whole gateway share.

`REDIS_KIND=cluster` or `REDIS_KIND=sentinel` has them run on those, as `make chaos` does.
"""

import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import redis

from skyeim_ws.config.redis import RedisConf
from tests.redis_kinds.servers import (
    ClusterServers,
    SentinelServers,
    cluster_servers,
    sentinel_servers,
)
from tests.store.servers import Server, running_server
from tests.world import World, world

USER, PASSWORD = "skyeim", "a-long-password"
"""As in docs/operations.md."""

OPTIONAL = frozenset({"client|setinfo"})
"""What redis-py tries, and does without; old servers do not know it."""

KIND = os.environ.get("REDIS_KIND", "")

not_on_a_cluster = pytest.mark.skipif(
    KIND == "cluster",
    reason="what it looks at is told by one server",
)

MakeWorld = Callable[..., AbstractAsyncContextManager[World]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pass over connections that redis-py leaves open when a server of a kind goes away."""
    for item in items if KIND else ():
        item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Server]:
    """A Redis with the user of the documents, by whom gateways and services log in."""
    with running_server() as server, _admin(server) as client:
        assert documented_user() is not None
        client.execute_command(*documented_user())
        yield server


@pytest.fixture(autouse=True)
def within_the_documented_rights(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail where the user of the documents has tried what it may not do."""
    yield
    if "shared_redis" in request.fixturenames:
        with _admin(request.getfixturevalue("shared_redis")) as client:
            refused = [
                (entry["reason"], entry["object"])
                for entry in client.acl_log()
                if entry["username"] == USER and entry["object"] not in OPTIONAL
            ]
            client.acl_log_reset()
        assert refused == [], "docs/operations.md, Redis: the user skyeim lacks this right"


@pytest.fixture
def redis_server(shared_redis: Server) -> Server:
    """An empty Redis that the test must leave running."""
    with _admin(shared_redis) as client:
        client.flushall()
    return shared_redis


@pytest.fixture(scope="session")
def redis_kind() -> Iterator[ClusterServers | SentinelServers | None]:
    """The servers of the kind that is asked for; None for a single one."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as path:
        if KIND == "cluster":
            with cluster_servers(Path(path)) as cluster:
                yield cluster
        elif KIND == "sentinel":
            with sentinel_servers(Path(path)) as sentinel:
                yield sentinel
        else:
            assert not KIND, f"no such kind of Redis: {KIND}"
            yield None


@pytest.fixture
def make_world(
    request: pytest.FixtureRequest,
    redis_kind: ClusterServers | SentinelServers | None,
    tmp_path: Path,
) -> MakeWorld:
    """Run a chat of one's own: `async with make_world(...) as world`."""
    if redis_kind is not None:
        redis_kind.heal()
        return partial(world, redis_kind.conf, tmp_path)
    server: Server = request.getfixturevalue("redis_server")
    return partial(
        world, RedisConf(host=str(server.socket), user=USER, password=PASSWORD), tmp_path
    )


def documented_user() -> list[str]:
    """Return the command that makes the user of docs/operations.md."""
    return documented_users()[0]


def documented_users() -> list[list[str]]:
    """Return that command, and the one that gives the user more rights in a cluster."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    found = []
    for command in text.split(f"redis-cli ACL SETUSER {USER}")[1:]:
        words = shlex.split(command[: command.index("```")])
        found.append(["ACL", "SETUSER", USER, *(word for word in words if word != "\n")])
    return found


def _admin(server: Server) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket))
