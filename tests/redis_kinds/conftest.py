"""A cluster and a sentinel set, each started once and healed for each test."""

import gc
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.gateway.conftest import MakeWorld
from tests.redis_kinds.servers import (
    ClusterServers,
    SentinelServers,
    cluster_servers,
    sentinel_servers,
)
from tests.world import world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pass over the connections that redis-py forgets when their server dies under them.

    A connection attempt that is cut off in the middle leaves its socket to the garbage collector.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(autouse=True)
def forgotten_connections() -> Iterator[None]:
    """Collect them here, not in whichever test comes next."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ClusterServers]:
    with tempfile.TemporaryDirectory(prefix="skyeim-") as path, cluster_servers(Path(path)) as it:
        yield it


@pytest.fixture(scope="session")
def shared_sentinel() -> Iterator[SentinelServers]:
    with tempfile.TemporaryDirectory(prefix="skyeim-") as path, sentinel_servers(Path(path)) as it:
        yield it


@pytest.fixture
def cluster(shared_cluster: ClusterServers) -> ClusterServers:
    """An empty cluster whose servers the test may kill."""
    shared_cluster.heal()
    return shared_cluster


@pytest.fixture
def sentinel(shared_sentinel: SentinelServers) -> SentinelServers:
    """An empty sentinel set whose servers the test may kill."""
    shared_sentinel.heal()
    return shared_sentinel


@pytest.fixture(params=["cluster", "sentinel"])
def servers(request: pytest.FixtureRequest) -> ClusterServers | SentinelServers:
    """Each of the two kinds."""
    found: ClusterServers | SentinelServers = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def make_world(servers: ClusterServers | SentinelServers, tmp_path: Path) -> MakeWorld:
    """Run a chat on either kind: `async with make_world(...) as world`."""
    return partial(world, servers.conf, tmp_path)
