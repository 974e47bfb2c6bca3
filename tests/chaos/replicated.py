"""A Redis Cluster, or a master that sentinels watch, under a rig: replicas take over.

A server that was killed comes back with nothing. So it is started only when its replica has taken
its place, and the next fault waits until it has copied all: what is lost with a master that has no
replica is not promised to anybody.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from redis.exceptions import RedisError

from skyeim_ws.config.redis import RedisConf
from tests.redis_kinds.servers import (
    ClusterServers,
    Node,
    SentinelServers,
    cluster_servers,
    sentinel_servers,
)
from tests.waiting import until_async

DURABLE = "min-replicas-to-write 1"
"""As docs/operations.md wants it: else a master that was cut off takes writes that are lost."""


class Master:
    """A server whose place a replica may take."""

    def __init__(self, node: Node, kind: "Replicated") -> None:
        self._node = node
        self._kind = kind
        self.freeze = node.freeze
        self.thaw = node.thaw

    async def kill(self) -> None:
        """End it as a crash does."""
        await asyncio.to_thread(self._node.kill)

    async def start(self) -> None:
        """Start it again, when another one is in its place."""
        await until_async(self._kind.is_whole)
        await asyncio.to_thread(self._node.start)


class Replicated:
    """The `kinds.Kind` of servers that take one another's place."""

    def __init__(self, servers: ClusterServers | SentinelServers) -> None:
        self._servers = servers

    @property
    def conf(self) -> RedisConf:
        """Return what stands under `Redis`."""
        return self._servers.conf

    def master(self, chance: Random) -> Master:
        """Return one of the masters."""
        return Master(chance.choice(self._servers.masters()), self)

    async def is_whole(self) -> bool:
        """Say if all masters are there."""
        return await asyncio.to_thread(_holds, self._servers.is_whole)

    async def is_well(self) -> bool:
        """Say if all masters are there, and have their replicas."""
        return await asyncio.to_thread(_holds, self._servers.is_well)

    async def move_slots(self, keys: Sequence[str], chance: Random) -> None:
        """Move the slots of some keys to other masters of the cluster."""
        servers = self._servers
        assert isinstance(servers, ClusterServers)
        for key in keys:
            owner = servers.owner(key)
            to = chance.choice([node for node in servers.masters() if node is not owner])
            await asyncio.to_thread(servers.move, key, to)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except RedisError:  # not there yet
        return False


@contextmanager
def cluster(folder: Path) -> Iterator[Replicated]:
    """Run a cluster."""
    with cluster_servers(folder, DURABLE) as servers:
        yield Replicated(servers)


@contextmanager
def sentinel(folder: Path) -> Iterator[Replicated]:
    """Run a sentinel set."""
    with sentinel_servers(folder, DURABLE) as servers:
        yield Replicated(servers)
