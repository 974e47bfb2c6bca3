"""The client of the Redis that the services share with the gateway, of whatever kind it is."""

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from skyeim_ws.contract.redis_address import RedisAddress, host_and_port
from skyeim_ws.contract.redis_client import client_options, open_server

REDIS_DEADLINE = 1.0
SENTINEL_SECONDS = 0.3

SharedRedis = Redis | RedisCluster


def open_redis(address: RedisAddress) -> SharedRedis:
    """Return a client for an address; nothing is sent yet. Raises ValueError."""
    if address.kind != "cluster":
        return open_server(address, REDIS_DEADLINE, SENTINEL_SECONDS)
    # The library asks for the map of slots again only where it may try again.
    options = client_options(address, REDIS_DEADLINE) | {"retry": Retry(NoBackoff(), 1)}
    nodes = [ClusterNode(*host_and_port(host)) for host in address.hosts]
    return RedisCluster(startup_nodes=nodes, **options)
