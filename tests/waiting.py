"""Wait for a condition instead of sleeping and hoping."""

import asyncio
from collections.abc import Callable

DEADLINE = 20.0
"""Seconds; far more than anything here takes, so that only a fault runs into it."""


async def until(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Return as soon as the condition holds; raise TimeoutError if it never does."""
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - the condition is anybody's
            await asyncio.sleep(0.005)
