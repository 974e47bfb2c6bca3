"""Whether what a configuration names answers, and lets the gateway do what it has to do."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import structlog

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import EtcdConf, RpcConf
from skyeim_ws.config.tree import Config
from skyeim_ws.discovery.etcd import EtcdFailed
from skyeim_ws.discovery.watch import read_once
from skyeim_ws.gateway.backends import open_pool
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.messages import MessageClient
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.store.access import refused_access
from skyeim_ws.store.client import connect

log = structlog.get_logger()

SECONDS = 10.0
"""How long one of them has to answer."""

PAUSE = 1.0
"""Seconds from one question to the next, while Redis is waited for."""

_NOBODY = 0
"""A user that no service knows: the questions change nothing."""


class Finding(NamedTuple):
    """What was asked, and what is wrong with it; an empty text if nothing is."""

    what: str
    problem: str


async def probe(config: Config) -> list[Finding]:
    """Ask Redis and the services of a configuration; what it leaves to the program is left out.

    Each has `SECONDS` to answer. Nothing is left behind anywhere.
    """
    found: list[Finding] = []
    if config.redis is not None:
        found.append(await _ask("Redis", _refused(config.redis)))
    if config.etcd is not None:
        found.append(await _ask("Etcd", _in_etcd(config.etcd, needed=False)))
    for name, rpc, question in _services(config):
        if rpc.registry is not None:
            found.append(await _ask(f"{name}.Etcd", _in_etcd(rpc.registry, needed=True)))
        async with AsyncExitStack() as stack:
            pool = open_pool(Supervisor(stack), name.removesuffix("Rpc").lower(), rpc)
            found.append(await _ask(name, _answers(question(pool))))
    return found


async def probe_announced(config: Config) -> list[Finding]:
    """Ask the etcd of each section in which the services announce themselves."""
    return [
        await _ask(f"{name}.Etcd", _in_etcd(rpc.etcd, needed=False))
        for name, rpc, _ in _services(config)
        if rpc.etcd is not None
    ]


async def redis_reached(redis: RedisConf) -> None:
    """Ask Redis until it lets us do what a gateway does; the first failure is logged."""
    told = False
    while (found := await _ask("Redis", _refused(redis))).problem:
        if not told:
            log.warning("redis_not_usable", error=found.problem)
        told = True
        await asyncio.sleep(PAUSE)


async def _ask(what: str, question: Awaitable[str]) -> Finding:
    try:
        async with asyncio.timeout(SECONDS):
            return Finding(what, await question)
    except TimeoutError:
        return Finding(what, f"no answer within {SECONDS:.0f} s")
    except (OSError, ValueError) as error:
        return Finding(what, str(error) or type(error).__name__)


async def _in_etcd(conf: EtcdConf, *, needed: bool) -> str:
    """Read what stands under the key, which is needed by those who look for a service there."""
    try:
        found = await read_once(conf)
    except EtcdFailed as error:
        return f"does not answer: {error}"
    return "" if found or not needed else f"nothing stands under the key {conf.key}"


async def _refused(redis: RedisConf) -> str:
    client = connect(redis.address)
    try:
        return await refused_access(client)
    finally:
        await client.aclose()


def _services(
    config: Config,
) -> Iterator[tuple[str, RpcConf, Callable[[Pool], Awaitable[object]]]]:
    """Give the services that are configured, and what each is asked."""
    asked = {"MessageRpc": _ask_messages, "FriendRpc": _ask_friends, "GroupRpc": _ask_groups}
    for name, rpc in config.rpcs.items():
        if rpc is not None:
            yield name, rpc, asked[name]


async def _ask_messages(pool: Pool) -> None:
    await MessageClient(pool, FriendClient(pool).friends).unread_count(_NOBODY)


async def _ask_friends(pool: Pool) -> None:
    await FriendClient(pool).friend_page(_NOBODY, 1, 1)


async def _ask_groups(pool: Pool) -> None:
    await GroupClient(pool).joined(_NOBODY)


async def _answers(call: Awaitable[object]) -> str:
    try:
        await call
    except Refused:
        return ""  # an answer, and such a user is refused with good reason
    except Unavailable as error:
        return f"does not answer: {error}"
    return ""
