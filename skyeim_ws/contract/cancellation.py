"""How to end a task that talks to Redis, although it may miss its cancellation."""

import asyncio
from typing import Any

CANCEL_AGAIN = 0.1
"""Seconds after which a task that has missed its cancellation is cancelled again."""


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end; what they raise is dropped.

    redis-py sends through asyncio.wait_for, which before Python 3.12 loses a cancellation that
    comes just as the send is done. A task that waits for the next message would then never end.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
