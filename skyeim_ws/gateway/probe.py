"""Whether what a configuration names answers, and lets the gateway do what it has to do."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import NamedTuple

import structlog

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.tree import Backends, Config
from skyeim_ws.gateway.backends import open_services
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.logic.ports import Refused, Unavailable
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
        found.append(await _ask("Redis", _redis(config)))
    async with AsyncExitStack() as stack:
        services = _configured_services(config, Supervisor(stack))
        for name, question in services:
            found.append(await _ask(name, question))
    return found


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


async def _redis(config: Config) -> str:
    assert config.redis is not None  # noqa: S101 - the caller has looked
    return await _refused(config.redis)


async def _refused(redis: RedisConf) -> str:
    client = connect(redis.address)
    try:
        return await refused_access(client)
    finally:
        await client.aclose()


def _configured_services(
    config: Config, supervisor: Supervisor
) -> list[tuple[str, Awaitable[str]]]:
    rpcs = (config.message_rpc, config.friend_rpc, config.group_rpc)
    message, friend, group = rpcs
    if config.redis is None or message is None or friend is None or group is None:
        return []
    where = Backends(config.redis, message, friend, group, private_redis=False)
    services = open_services(config, where, supervisor)
    return [
        ("MessageRpc", _answers(services.messages.unread_count(_NOBODY))),
        ("FriendRpc", _answers(services.friend_pages.friend_page(_NOBODY, 1, 1))),
        ("GroupRpc", _answers(services.groups.joined(_NOBODY))),
    ]


async def _answers(call: Awaitable[object]) -> str:
    try:
        await call
    except Refused:
        return ""  # an answer, and such a user is refused with good reason
    except Unavailable as error:
        return f"does not answer: {error}"
    return ""
