"""The kinds of Redis under a rig, and what can be done to each of them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Protocol

from redis.asyncio import Redis

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.store.announcements import TOLD_KEY
from skyeim_ws.store.client import connect, masters
from tests.chaos.process import Mortal
from tests.chaos.replicated import cluster, sentinel
from tests.chaos.single import single

SESSIONS = "ws:sessions"


class Kind(Protocol):
    """One server, or several that take one another's place."""

    @property
    def conf(self) -> RedisConf:
        """What stands under `Redis` in the configuration of a gateway."""

    def master(self, chance: Random) -> Mortal:
        """Return a server that takes writes."""

    async def is_well(self) -> bool:
        """Say if the next fault may come."""


@asynccontextmanager
async def started(kind: str, folder: Path) -> AsyncIterator[Kind]:
    """Run a Redis of this kind: `single`, `cluster` or `sentinel`."""
    if kind == "single":
        async with single(folder) as one:
            yield one
        return
    # Setting up blocks; nobody chats yet.
    with (cluster if kind == "cluster" else sentinel)(folder) as replicated:
        yield replicated


def section(conf: RedisConf) -> str:
    """Return the section of a configuration file, in one line."""
    if conf.sentinel is not None:
        hosts = ", ".join(f"'{host}'" for host in conf.sentinel.hosts)
        return f"{{Sentinel: {{Hosts: [{hosts}], Master: {conf.sentinel.master}}}}}"
    return f"{{Host: '{conf.host}', Type: {conf.type}}}"


@asynccontextmanager
async def servers(conf: RedisConf) -> AsyncIterator[list[Redis]]:
    """Open clients of all that take writes: each has a part of the keys."""
    client = connect(conf.address)
    try:
        yield await masters(client)
    finally:
        await client.aclose()


async def cut_subscriptions(conf: RedisConf) -> None:
    """End the connections on which the gateways listen."""
    async with servers(conf) as found:
        for redis in found:
            await redis.client_kill_filter(_type="pubsub")


async def empty(conf: RedisConf) -> None:
    """Have Redis lose all that it knows."""
    async with servers(conf) as found:
        for redis in found:
            await redis.flushall()


async def online(conf: RedisConf, group: str) -> dict[str, set[int]]:
    """Return who is online by each of the sets in Redis, and by the sessions of all nodes."""
    sets = ("online:users", f"group:online:{group}", TOLD_KEY)
    online: dict[str, set[int]] = {key: set() for key in (*sets, SESSIONS)}
    async with servers(conf) as found:
        for redis in found:
            for key in map(os.fsdecode, await redis.keys()):
                if key in sets:
                    online[key].update(map(int, await redis.smembers(key)))
                elif key.startswith(SESSIONS):
                    online[SESSIONS].update(map(int, await redis.hkeys(key)))
    return online
