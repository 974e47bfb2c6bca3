"""What a gateway waits for at its start and at its end, never for longer than a deadline."""

import asyncio
from collections.abc import Callable

import structlog

from skyeim_ws.gateway.backends import Store
from skyeim_ws.logic.ports import Unavailable

log = structlog.get_logger()

_SUBSCRIBE_SECONDS = 10.0
"""How long a node that reaches Redis may take to subscribe, before it takes connections anyhow."""


async def joined(store: Store) -> None:
    """Wait until this node hears the others and they know of it, unless Redis is away.

    What others tell before that is lost for the clients here, such as that a friend has come.
    Raises Unavailable if it may not stand beside them.
    """
    bus, lease = store.bus, store.lease
    await until(
        lambda: (bus.ready.is_set() and lease.listed) or bool(lease.refused) or bus.redis_down,
        _SUBSCRIBE_SECONDS,
    )
    if lease.refused:
        raise Unavailable(lease.refused)
    if not bus.ready.is_set():
        log.warning("bus_not_subscribed_yet")


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, but no longer than this."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
