"""The changes that anyone makes to keys with one prefix, as Redis tells them (client tracking)."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.store.client import Client, dedicated
from skyeim_ws.store.cluster import Cluster

log = structlog.get_logger()

PROBE_INTERVAL = 5.0
"""Seconds of silence after which a PING is sent, and after which the connection is given up."""

BACKOFF_FIRST, BACKOFF_LIMIT = 0.1, 2.0

_HEARD = 1_000
"""Changes of all masters that wait; more wait in the connections."""

_MAP_SECONDS = 1.0
"""Between two looks whether the masters of a cluster are others."""

_CHANNEL = "__redis__:invalidate"
"""Where Redis tells of changes to whoever does not speak RESP3."""


@dataclass(frozen=True, slots=True)
class Change:
    """Keys that may have changed (None: any); `tracking` says whether further changes will show."""

    keys: tuple[str, ...] | None
    tracking: bool


async def changes(client: Client, prefix: str, moves: Callable[[], int]) -> AsyncGenerator[Change]:
    """Yield the changes to keys of the prefix, for ever, over connections of its own.

    Each connect and each loss yields a change of all keys. `client` gives the address and the
    credentials; it has to be Redis 6 or later, or any Valkey, else nothing is ever tracked. In a
    cluster each master tells of its own keys: they are tracked while all masters do. `moves` grows
    when the address may lead to another server.
    """
    backoff = BACKOFF_FIRST
    lost = False
    while True:
        error: Exception | None = None
        try:
            async with aclosing(_session(client, prefix, moves)) as session:
                async for change in session:
                    if change.keys is None:
                        lost, backoff = False, BACKOFF_FIRST
                    yield change
        except Exception as caught:  # whatever broke it, the answer is a new connection
            error = caught
        if not lost:
            lost = True
            log.warning("key_tracking_lost", prefix=prefix, error=type(error).__name__)
        yield Change(None, tracking=False)
        await asyncio.sleep(backoff * random.uniform(0.75, 1.25))  # noqa: S311
        backoff = min(backoff * 2, BACKOFF_LIMIT)


async def _session(client: Client, prefix: str, moves: Callable[[], int]) -> AsyncGenerator[Change]:
    if not isinstance(client, Cluster):
        tracked = _of_server(await dedicated(client), prefix, moves)
    else:
        tracked = _of_masters(client, prefix)
    async with aclosing(tracked) as session:
        async for change in session:
            yield change


async def _of_masters(cluster: Cluster, prefix: str) -> AsyncGenerator[Change]:
    """Yield the changes at all masters; it ends when one is lost, or when they are others."""
    await cluster.read_map()
    masters = await cluster.masters()
    began = cluster.maps
    heard: asyncio.Queue[tuple[int, Change | Exception]] = asyncio.Queue(_HEARD)
    tasks = [
        asyncio.create_task(_follow(number, master, prefix, heard))
        for number, master in enumerate(masters)
    ]
    starting = set(range(len(masters)))
    try:
        while cluster.maps == began:
            try:
                async with asyncio.timeout(_MAP_SECONDS):
                    number, found = await heard.get()
            except TimeoutError:
                continue
            if isinstance(found, Exception):
                cluster.doubt_map()  # another may have taken its place
                raise found
            starting.discard(number)
            if not starting:
                yield found
        raise ConnectionError("the masters of the cluster are others")
    finally:
        await cancel_and_wait(*tasks)


async def _follow(
    number: int, master: Redis, prefix: str, heard: asyncio.Queue[tuple[int, Change | Exception]]
) -> None:
    try:
        async with aclosing(_of_server(await dedicated(master), prefix, lambda: 0)) as session:
            async for change in session:
                await heard.put((number, change))
    except Exception as error:  # whoever follows all of them takes it as its own
        await heard.put((number, error))


async def _of_server(
    connection: AbstractConnection, prefix: str, moves: Callable[[], int]
) -> AsyncGenerator[Change]:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("CLIENT", "ID")
        own = await connection.read_response()
        # Broadcast: each write to the prefix is told, whoever has read the key before. And to this
        # very connection, as messages on a channel, which the library gives out as they are.
        tracking = ("TRACKING", "ON", "REDIRECT", own, "BCAST", "PREFIX", prefix)
        await connection.send_command("CLIENT", *tracking)
        await connection.read_response()
        await connection.send_command("SUBSCRIBE", _CHANNEL)
        await connection.read_response()
        log.info("key_tracking_started", prefix=prefix)
        yield Change(None, tracking=True)
        probed, began = False, moves()
        while True:
            answer = await connection.read_response(timeout=PROBE_INTERVAL)
            if moves() != began:
                raise ConnectionError("Redis has moved")
            if answer is None:
                if probed:
                    raise TimeoutError("no sign of life")
                await connection.send_command("PING")
            probed = answer is None
            if answer is not None and answer[0] == b"message":
                keys = answer[2]
                yield Change(None if keys is None else tuple(map(_decoded, keys)), tracking=True)
    finally:
        await connection.disconnect(nowait=True)


def _decoded(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
