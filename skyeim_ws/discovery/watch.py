"""The addresses of a service in etcd, followed through whatever happens to etcd."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

import structlog

from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.discovery.etcd import Connection, EtcdFailed, connect

PAUSE_FIRST, PAUSE_LAST = 0.2, 3.0
"""Seconds before etcd is asked again that has failed, the first time and at most."""

log = structlog.get_logger()


async def watched(conf: EtcdConf) -> AsyncIterator[list[str]]:
    """Give the addresses under `conf.key`, now and after each change; without end.

    While etcd cannot be asked, what was given last stays true. So it does when none is left: rather
    call those that were there last than nobody, for all the keys go when etcd has lost its data.
    """
    attempt = random.randrange(len(conf.hosts))  # noqa: S311 - to spread the load
    pause = PAUSE_FIRST
    given: list[str] = []
    lost = False
    while True:
        try:
            async with (
                connect(conf, attempt) as etcd,
                aclosing(_followed(etcd, conf.key)) as states,
            ):
                async for found in states:
                    if lost:
                        lost = False
                        log.info("etcd_reached", key=conf.key)
                    pause = PAUSE_FIRST
                    if found and found != given:
                        given = found
                        yield found
                    elif not found:
                        log.warning("etcd_has_no_addresses", key=conf.key, kept=len(given))
        except EtcdFailed as error:
            if not lost:
                lost = True
                log.warning("etcd_lost", key=conf.key, error=str(error), kept=len(given))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
        pause = min(2 * pause, PAUSE_LAST)
        attempt += 1


async def read_once(conf: EtcdConf) -> list[str]:
    """Return the addresses under `conf.key`, from whichever host answers; raises EtcdFailed."""
    for attempt in range(len(conf.hosts)):
        try:
            async with connect(conf, attempt) as etcd:
                instances, _ = await etcd.read(f"{conf.key}/")
                return _addresses(instances)
        except EtcdFailed:
            if attempt == len(conf.hosts) - 1:
                raise
    raise EtcdFailed("no host is configured")


async def _followed(etcd: Connection, key: str) -> AsyncGenerator[list[str]]:
    """Give the addresses under a key, now and after each change, until EtcdFailed."""
    instances, revision = await etcd.read(f"{key}/")
    yield _addresses(instances)
    async with aclosing(etcd.watch(f"{key}/", revision + 1)) as changes:
        async for changed in changes:
            for name, value in changed.items():
                if value is None:
                    instances.pop(name, None)
                else:
                    instances[name] = value
            yield _addresses(instances)


def _addresses(instances: Mapping[str, str]) -> list[str]:
    """Return each address once; an instance that has registered anew may stand there twice."""
    return sorted(set(instances.values()) - {""})
