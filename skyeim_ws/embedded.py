"""What the program starts itself where nothing is configured: Redis and the business services."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import structlog

from skyeim_ws.config import Config, RedisConf, RpcConf
from skyeim_ws.ops import valkey
from skyeim_ws.ops.children import Child

log = structlog.get_logger()

_READY_TIMEOUT = 60.0
"""Seconds; a large append-only file takes a while to load, and a small machine to import."""

_STOP_GRACE = 5.0
_SERVICES_SOCKET = "services.sock"
_DATABASE_FILE = "skyeim.db"
PUSH_SECRET_VARIABLE = "SKYEIM_PUSH_SECRET"  # noqa: S105 - a name
DATA_SOURCE_VARIABLE = "SKYEIM_DATA_SOURCE"


@dataclass(frozen=True, slots=True)
class Backends:
    """Where Redis and the services are, whoever started them."""

    redis: RedisConf
    message_rpc: RpcConf
    friend_rpc: RpcConf
    group_rpc: RpcConf
    private_redis: bool
    """No other node uses this Redis."""


@asynccontextmanager
async def backends(config: Config, push_url: str, *, demo: bool) -> AsyncIterator[Backends]:
    """Start what the configuration leaves to the program; stop it at the end.

    Raises EmbeddedError or ChildError, with a text for the person who started the program.
    """
    rpcs = (config.message_rpc, config.friend_rpc, config.group_rpc)
    if config.embedded is None or (config.redis is not None and all(rpcs)):
        yield _configured(config)
        return
    data_dir = Path(config.embedded.data_dir)
    with valkey.locked(data_dir):
        children: list[Child] = []
        try:
            redis = config.redis
            if redis is None:
                server, socket = valkey.child(data_dir, ready_timeout=_READY_TIMEOUT)
                await server.start()
                children.append(server)
                redis = RedisConf(host=str(socket))
            config = replace(config, redis=redis)
            if not all(rpcs):
                address = f"unix:{valkey.runtime_dir(data_dir) / _SERVICES_SOCKET}"
                services = _services_child(config, redis, data_dir, address, push_url, demo=demo)
                await services.start()
                children.append(services)
                ours = RpcConf(endpoints=(address,))
                config = replace(
                    config,
                    message_rpc=config.message_rpc or ours,
                    friend_rpc=config.friend_rpc or ours,
                    group_rpc=config.group_rpc or ours,
                )
            yield replace(
                _configured(config), private_redis=bool(children[:1]) and redis.host.startswith("/")
            )
        finally:
            for child in reversed(children):
                await child.stop(_STOP_GRACE)


def database(config: Config) -> str:
    """Return the data source of the business services: the configured one, else a file."""
    if config.database is not None:
        return config.database.data_source
    folder = config.embedded.data_dir if config.embedded is not None else "data"
    return str(Path(folder).absolute() / _DATABASE_FILE)


def service_command(addresses: tuple[str, ...], *, redis_host: str, push_url: str) -> list[str]:
    """Return the command line of the business services; secrets go through the environment."""
    command = [sys.executable, "-m", "skyeim_ws.services.server"]
    command += ["--data-source-env", DATA_SOURCE_VARIABLE]
    for address in addresses:
        command += ["--listen", address]
    if redis_host:
        command += ["--redis", redis_host]
    if push_url:
        command += ["--push-url", push_url, "--push-secret-env", PUSH_SECRET_VARIABLE]
    return command


def _configured(config: Config) -> Backends:
    found = (config.redis, config.message_rpc, config.friend_rpc, config.group_rpc)
    redis, message, friend, group = found
    if redis is None or message is None or friend is None or group is None:
        raise ValueError("a backend is neither configured nor embedded")
    return Backends(redis, message, friend, group, private_redis=False)


def _services_child(
    config: Config, redis: RedisConf, data_dir: Path, address: str, push_url: str, *, demo: bool
) -> Child:
    raise NotImplementedError


async def _serving(address: str) -> bool:
    """Whether a gRPC server answers at the address."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), 1)
        except TimeoutError:
            return False
    return True
