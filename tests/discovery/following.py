"""Keeps what a source without end gives, for as long as a test looks at it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def following(source: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    """Give the list of what has come so far."""
    found: list[T] = []

    async def follow() -> None:
        async for each in source:
            found.append(each)

    task = asyncio.create_task(follow())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
