"""Builds the Redis client from its configuration."""

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

DEFAULT_PORT = 6379
UNIX_SCHEME = "unix://"


def connect(
    address: str,
    *,
    kind: str = "node",
    username: str = "",
    password: str = "",
    tls: bool = False,
    timeout: float = 2.0,
) -> Redis:
    """Return a client for `host:port` or the path of a unix socket; nothing is sent yet.

    `timeout` (seconds) bounds connecting and each read and write. Raises ValueError if the
    address cannot be read or `kind` is not `node`.
    """
    if kind != "node":
        raise ValueError(f"Redis of type {kind!r} is not supported, only a single node is")
    options: dict[str, Any] = {
        "username": username or None,
        "password": password or None,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # A retry inside the library would send a command again behind those that followed it.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    path = address.removeprefix(UNIX_SCHEME)
    if path.startswith("/"):
        return Redis(unix_socket_path=path, **options)
    host, port = _split(address)
    return Redis(host=host, port=port, ssl=tls, **options)


def _split(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.netloc != address or "@" in address or "," in address:
        raise ValueError(f"not a Redis address, want host:port or a socket's path: {address!r}")
    return host, DEFAULT_PORT if port is None else port
