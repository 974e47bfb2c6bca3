"""The Redis that the services share with the gateway, from its address: of whatever kind."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

REDIS_DEADLINE = 1.0

SENTINEL_SECONDS = 0.3
"""How long one sentinel has to name the master: a dead one must not use up a call's time."""

_PORTS = {"redis-cluster": 6379, "redis-sentinel": 26379}

SharedRedis = Redis | RedisCluster


def open_redis(url: str) -> SharedRedis:
    """Return a client for an address; nothing is sent yet.

    `redis://[user:password@]host:port` (`rediss` for TLS) and `unix://path` are single servers.
    `redis-cluster://[user:password@]host:port,host:port` is a cluster, and
    `redis-sentinel://[user:password@]host:port,host:port/name?sentinel_password=...` the master of
    that name; `tls=1` behind the `?` asks for TLS. Raises ValueError.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": REDIS_DEADLINE,
        "socket_timeout": REDIS_DEADLINE,
    }
    scheme, _, rest = url.partition("://")
    if scheme not in _PORTS:
        return Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    parts = urlsplit(f"//{rest}")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    nodes = [_address(host, _PORTS[scheme]) for host in hosts.split(",")]
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    options["ssl"] = query.get("tls") == "1"
    options["username"] = unquote(user) or None
    options["password"] = unquote(password) or None
    if scheme == "redis-cluster":
        # The library asks for the map of slots again only where it may try again.
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in nodes],
            retry=Retry(NoBackoff(), 1),
            **options,
        )
    asked = Sentinel(  # type: ignore[no-untyped-call]
        nodes,
        sentinel_kwargs={
            "socket_connect_timeout": SENTINEL_SECONDS,
            "socket_timeout": SENTINEL_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "ssl": options["ssl"],
            "password": query.get("sentinel_password"),
        },
    )
    master: Redis = asked.master_for(
        unquote(parts.path.strip("/")),
        connection_pool_class=_SentinelPool,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return master


class _SentinelPool(SentinelConnectionPool):
    """Closes the connections to the sentinels together with its own."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _address(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.netloc != text:
        raise ValueError(f"not the address of a Redis node, want host:port: {text!r}")
    return parts.hostname, default_port if parts.port is None else parts.port
