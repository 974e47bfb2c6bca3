"""The permanent tasks of a gateway: one that ends by itself ends the process, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait

log = structlog.get_logger()


class Supervisor:
    """Watches the tasks without which a gateway is not whole, until the stack is closed.

    A part that has lost its task would go on to take work, and nobody would do it. So `failed` is
    set for good when one of them ends: whoever runs the gateway then stops it, and something
    outside, such as systemd, starts a whole one.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self.failed = asyncio.Event()
        self._stack = stack

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run this in a task until the stack is closed, which cancels it."""
        task = asyncio.create_task(work)
        self.keep(name, task, partial(cancel_and_wait, task))

    def keep(
        self, name: str, task: asyncio.Task[None] | None, close: Callable[[], Awaitable[None]]
    ) -> None:
        """Watch a task that has been started, and call `close` to end it with the stack.

        While it is being ended it may return or be cancelled, but not fail.
        """
        self._stack.push_async_callback(close)
        if task is None:
            return
        task.set_name(name)
        ending = asyncio.Event()

        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None or not ending.is_set():
                self.failed.set()
                log.error("permanent_task_ended", task=name, exc_info=error)

        task.add_done_callback(ended)
        self._stack.callback(ending.set)
