"""How the Redis is named that the gateway and the services share, also from one to the other."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import msgspec

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A server, some nodes of a cluster, or the sentinels that know which server is `master`.

    `hosts` are `host:port`; for a single server it may also be the path of a unix socket.
    """

    hosts: tuple[str, ...]
    kind: Literal["node", "cluster", "sentinel"] = "node"
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    master: str = ""
    sentinel_password: str = field(default="", repr=False)

    def encode(self) -> str:
        """Return it as text for another program; it holds the passwords."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> "RedisAddress":
        """Return what `encode` gave; raises ValueError."""
        return msgspec.json.decode(text, type=cls)


def host_and_port(address: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Read `host`, `host:port` or `[address]:port`; raises ValueError."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.netloc != address or "@" in address or "," in address:
        raise ValueError(f"not a Redis address, want host:port or a socket's path: {address!r}")
    return host, default_port if port is None else port
