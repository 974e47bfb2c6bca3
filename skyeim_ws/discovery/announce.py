"""Tells others where a service of ours is, in etcd, in the way in which go-zero looks for it."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec
import structlog

from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.discovery.etcd import Connection, EtcdFailed, connect

LEASE = 10
"""Seconds after which etcd forgets who gives no sign of life."""

INTERVAL = 3.0
"""Seconds between two signs of life."""

RETRY = 1.0

_ANY_HOST = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - recognized here, not bound
_ELSEWHERE = ("192.0.2.1", 9)
"""An address of the documentation; no packet is sent there."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Announcement:
    """An address, `host:port`, to be found under the key of a section."""

    etcd: EtcdConf
    address: str


@asynccontextmanager
async def announcing(announcements: Iterable[Announcement]) -> AsyncIterator[None]:
    """Have others find these addresses inside the block; on leaving etcd forgets them at once."""
    tasks = [asyncio.create_task(_announce(each.etcd, each.address)) for each in announcements]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _announce(conf: EtcdConf, address: str) -> None:
    """Keep an address in etcd, through whatever happens to etcd, until this is cancelled."""
    attempt = random.randrange(len(conf.hosts))  # noqa: S311 - to spread the load
    lease = 0
    lost = False
    while True:
        try:
            async with connect(conf, attempt) as etcd:
                try:
                    while True:
                        if not (lease and await _stands(etcd, conf, lease)):
                            # Known before the key is there: a stop in between takes it away too.
                            lease = await etcd.grant(LEASE)
                            await etcd.put(_key(conf, lease), address, lease)
                            log.info("address_announced", key=conf.key, address=address)
                        lost = False
                        await asyncio.sleep(INTERVAL)
                except asyncio.CancelledError:
                    with suppress(EtcdFailed):  # then it forgets by itself
                        await etcd.revoke(lease)
                        log.info("address_withdrawn", key=conf.key, address=address)
                    raise
        except EtcdFailed as error:
            if not lost:
                lost = True
                log.warning("address_not_announced", key=conf.key, error=str(error))
        await asyncio.sleep(RETRY)
        attempt += 1


async def _stands(etcd: Connection, conf: EtcdConf, lease: int) -> bool:
    """Give a sign of life; return whether lease and key are still there."""
    return await etcd.keep_alive(lease) and await etcd.has(_key(conf, lease))


def _key(conf: EtcdConf, lease: int) -> str:
    return f"{conf.key}/{conf.instance or lease}"


def reached_at(host: str, port: int, configured: str) -> str:
    """Return the address by which other machines reach what listens on a host and port here.

    If it listens on all addresses, then by the host that is configured, else by `POD_IP` of the
    environment, else by the one from which this machine reaches others. Raises OSError if it has
    none.
    """
    if configured:
        host = configured
    elif host in _ANY_HOST:
        host = os.environ.get("POD_IP", "") or _own_address()
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE)
        return str(probe.getsockname()[0])


def encode(announcements: Sequence[Announcement]) -> str:
    """Return announcements as text, passwords included."""
    return msgspec.json.encode(announcements).decode()


def decode(text: str) -> list[Announcement]:
    """Read what `encode` has written; raises ValueError."""
    return msgspec.json.decode(text, type=list[Announcement])
