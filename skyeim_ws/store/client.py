"""The client of the gateway's Redis: one server, the master of a set, or a cluster."""

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool

from skyeim_ws.contract.redis_address import RedisAddress, host_and_port
from skyeim_ws.contract.redis_client import client_options, open_server
from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.shard import Shard

SENTINEL_SECONDS = 0.5

Client = Redis | Cluster


def connect(address: RedisAddress, timeout: float = 2.0) -> Client:
    """Return a client; nothing is sent yet.

    `timeout` (seconds) bounds connecting and each read and write. Raises ValueError if an address
    cannot be read.
    """
    if address.kind != "cluster":
        return open_server(address, timeout, SENTINEL_SECONDS)
    options = client_options(address, timeout)

    def node(host: str, port: int) -> Redis:
        return Redis(host=host, port=port, **options)

    return Cluster([host_and_port(host) for host in address.hosts], node)


def link(client: Client) -> Shard | Cluster:
    """Return what sends commands to the Redis of a client."""
    if isinstance(client, Cluster):
        return client
    return Shard(client, replicated=isinstance(client.connection_pool, SentinelConnectionPool))


async def masters(client: Client) -> list[Redis]:
    """Return the clients of all masters: each has a part of the keys."""
    return await client.masters() if isinstance(client, Cluster) else [client]


async def dedicated(client: Client) -> AbstractConnection:
    """Return a connection of one's own, not open yet.

    Of a cluster it leads to one of the masters, another one each time.
    """
    redis = await client.any_node() if isinstance(client, Cluster) else client
    pool = redis.connection_pool
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection
