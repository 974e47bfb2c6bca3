"""Builds the Redis client from its configuration: one server, a sentinel set or a cluster."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.shard import Shard

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
UNIX_SCHEME = "unix://"

SENTINEL_SECONDS = 0.5
"""How long one sentinel has to name the master: a dead one must not use up a call's time."""

Client = Redis | Cluster


def connect(
    address: str,
    *,
    username: str = "",
    password: str = "",
    tls: bool = False,
    timeout: float = 2.0,
) -> Redis:
    """Return a client for `host:port` or the path of a unix socket; nothing is sent yet.

    `timeout` (seconds) bounds connecting and each read and write. Raises ValueError if the
    address cannot be read.
    """
    options = _options(username, password, timeout)
    path = address.removeprefix(UNIX_SCHEME)
    if path.startswith("/"):
        return Redis(unix_socket_path=path, **options)
    host, port = _split(address)
    return Redis(host=host, port=port, ssl=tls, **options)


def connect_cluster(
    addresses: str,
    *,
    username: str = "",
    password: str = "",
    tls: bool = False,
    timeout: float = 2.0,
) -> Cluster:
    """Return a client for a cluster, of which some `host:port` are named, with commas between.

    Raises ValueError if one of them cannot be read.
    """
    options = _options(username, password, timeout)

    def node(host: str, port: int) -> Redis:
        return Redis(host=host, port=port, ssl=tls, **options)

    return Cluster([_split(part.strip()) for part in addresses.split(",")], node)


def connect_sentinel(
    sentinels: Sequence[str],
    master: str,
    *,
    sentinel_password: str = "",
    username: str = "",
    password: str = "",
    tls: bool = False,
    timeout: float = 2.0,
) -> Redis:
    """Return a client for whatever is the master of that name, by the word of the sentinels.

    Each new connection asks them. Raises ValueError if an address cannot be read.
    """
    asked = Sentinel(  # type: ignore[no-untyped-call]
        [_split(address, DEFAULT_SENTINEL_PORT) for address in sentinels],
        sentinel_kwargs=_options("", sentinel_password, SENTINEL_SECONDS) | {"ssl": tls},
    )
    options = _options(username, password, timeout)
    client: Redis = asked.master_for(
        master, connection_pool_class=_SentinelPool, ssl=tls, **options
    )
    return client


def link(client: Client) -> Shard | Cluster:
    """Return what sends commands to the Redis of a client."""
    if isinstance(client, Cluster):
        return client
    return Shard(client, replicated=isinstance(client.connection_pool, SentinelConnectionPool))


async def dedicated(client: Client) -> AbstractConnection:
    """Return a connection of one's own, not open yet.

    Of a cluster it leads to one of the masters, another one each time.
    """
    redis = await client.any_node() if isinstance(client, Cluster) else client
    pool = redis.connection_pool
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


class _SentinelPool(SentinelConnectionPool):
    """Closes the connections to the sentinels together with its own."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _options(username: str, password: str, timeout: float) -> dict[str, Any]:
    return {
        "username": username or None,
        "password": password or None,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # A retry inside the library would send a command again behind those that followed it.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _split(address: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.netloc != address or "@" in address or "," in address:
        raise ValueError(f"not a Redis address, want host:port or a socket's path: {address!r}")
    return host, default_port if port is None else port
