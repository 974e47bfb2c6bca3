"""Keeps track of work that nobody waits for, so that it does not vanish or fail unseen."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Text

log = structlog.get_logger()


class Tasks:
    """The background tasks of one part."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(
        self, work: Coroutine[Any, Any, None], client: Client | None = None
    ) -> asyncio.Task[None]:
        """Run a coroutine; an exception of it is logged, and ends the connection it was for.

        Else the client would wait for good for what will not come; a new connection begins anew.
        """
        task = asyncio.get_running_loop().create_task(work)
        # The loop itself holds only a weak reference.
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, client))
        return task

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, client: Client | None, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("background_task_failed", exc_info=error)
        if client is not None:
            client.disconnect(CloseCode.INTERNAL_ERROR, Text.INTERNAL_ERROR())
