"""Wait for a condition instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 100.0
"""Seconds; far more than anything here takes, on a machine ten times slower as well, so that only
a fault runs into it. The time-outs of pytest, in `setup.cfg`, are longer."""

PAUSE = 0.005


async def until(condition: Callable[[], T], deadline: float | None = DEADLINE) -> T:
    """Return what the condition gives as soon as it holds; raise TimeoutError if it never does."""
    async with asyncio.timeout(deadline):
        while not (value := condition()):  # noqa: ASYNC110 - the condition is anybody's
            await asyncio.sleep(PAUSE)
    return value


async def until_async(condition: Callable[[], Awaitable[T]], deadline: float = DEADLINE) -> T:
    """Return what an awaited condition gives as soon as it holds; raises TimeoutError."""
    async with asyncio.timeout(deadline):
        while not (value := await condition()):  # noqa: ASYNC110 - a server has no event
            await asyncio.sleep(PAUSE)
    return value


def wait_for(condition: Callable[[], T], what: str) -> T:
    """Block until the condition holds; for what is set up outside of any loop."""
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not ready in {DEADLINE:g} s"
        time.sleep(PAUSE)
    return value
