"""The Redis section of the configuration, and what makes sense in it."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from skyeim_ws.config.errors import ConfigError
from skyeim_ws.contract.redis_address import RedisAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelConf:
    """The sentinels, each `host:port`, that know which server is the master of that name."""

    hosts: tuple[str, ...]
    master: Annotated[str, Meta(min_length=1)]
    password: str = field(default="", repr=False, metadata={"key": "Pass"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisConf:
    """The Redis server, or several `host:port` of a cluster with commas between them.

    With `sentinel` its address is asked for, and `host` has no meaning.
    """

    IGNORED: ClassVar = frozenset({"nonblock", "pingtimeout", "maintnotifications"})

    host: str = ""
    type: Literal["node", "cluster"] = "node"
    user: str = ""
    password: str = field(default="", repr=False, metadata={"key": "Pass"})
    tls: bool = False
    sentinel: SentinelConf | None = None

    @property
    def address(self) -> RedisAddress:
        """What the programs that talk to this Redis are told."""
        login: dict[str, Any] = {"user": self.user, "password": self.password, "tls": self.tls}
        if self.sentinel is not None:
            asked = self.sentinel
            return RedisAddress(
                hosts=asked.hosts,
                kind="sentinel",
                master=asked.master,
                sentinel_password=asked.password,
                **login,
            )
        if self.type == "cluster":
            hosts = tuple(host.strip() for host in self.host.split(","))
            return RedisAddress(hosts=hosts, kind="cluster", **login)
        return RedisAddress(hosts=(self.host,), **login)


def check_redis(path: str, redis: RedisConf) -> None:
    """Raise ConfigError if the section leaves open which Redis is meant."""
    if redis.sentinel is None:
        _check_host(path, redis)
        return
    if redis.type == "cluster":
        raise ConfigError(
            path, "is cluster, which has no sentinels: leave one of both out", field="Redis.Type"
        )
    hosts = redis.sentinel.hosts
    if not hosts or not all(map(_is_address, hosts)):
        raise ConfigError(
            path, "must be a list of host:port, at least one", field="Redis.Sentinel.Hosts"
        )


def _check_host(path: str, redis: RedisConf) -> None:
    host = redis.host
    if not host:
        raise ConfigError(path, "is not set", field="Redis.Host")
    if redis.type == "cluster":
        wanted = "host:port of some nodes, with commas between them"
        good = all(_is_address(part.strip()) for part in host.split(","))
    else:
        wanted = "host:port, or the path of a unix socket"
        good = host.startswith(("/", "unix:///")) or _is_address(host)
    if not good:
        # What was found is not shown: a URL may hold a password.
        raise ConfigError(path, f"must be {wanted}", field="Redis.Host")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        whole = parts.netloc == text and not {"@", " "}.intersection(text)
        return whole and bool(parts.hostname) and parts.port != 0
    except ValueError:  # there is no such port, or no such host
        return False
