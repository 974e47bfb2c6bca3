"""The client of a Redis, as the gateway and the services make it from its address."""

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import MasterDownError, ReadOnlyError

from skyeim_ws.contract.redis_address import RedisAddress, host_and_port

SENTINEL_PORT = 26379
UNIX_SCHEME = "unix://"

_DEMOTED: list[type[Exception]] = [ReadOnlyError, MasterDownError]
"""After these the library closes the connection: the address may lead to another server by now."""


def open_server(address: RedisAddress, timeout: float, sentinel_timeout: float) -> Redis:
    """Return a client for a single server, or for the master that sentinels name.

    Nothing is sent yet; each new connection asks the sentinels. `timeout` (seconds) bounds
    connecting and each read and write; one sentinel has `sentinel_timeout`, since a dead one must
    not use up the time of a call. Raises ValueError if an address cannot be read.
    """
    options = client_options(address, timeout) | {"retry_on_error": _DEMOTED}
    if address.kind == "sentinel":
        # Sentinels have a password of their own, and no users.
        asked = RedisAddress(hosts=(), password=address.sentinel_password, tls=address.tls)
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            [host_and_port(host, SENTINEL_PORT) for host in address.hosts],
            sentinel_kwargs=client_options(asked, sentinel_timeout),
        )
        client: Redis = sentinels.master_for(
            address.master, connection_pool_class=_SentinelPool, **options
        )
        return client
    [host] = address.hosts
    path = host.removeprefix(UNIX_SCHEME)
    if path.startswith("/"):
        return Redis(unix_socket_path=path, **options)
    name, port = host_and_port(host)
    return Redis(host=name, port=port, **options)


def client_options(address: RedisAddress, timeout: float) -> dict[str, Any]:
    """Return what every client of this Redis is given besides host and port."""
    return {
        "username": address.user or None,
        "password": address.password or None,
        "ssl": address.tls,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # A retry inside the library would send a command again behind those that followed it.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


class _SentinelPool(SentinelConnectionPool):
    """Closes the connections to the sentinels together with its own."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()
