"""One operation on its way to Redis: its commands, and how what became of it is told, once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store.shard import Command

Outcome = list[Any] | Unavailable | None
"""The answers; why Redis never gets it; or None: not in time, and the operation goes on waiting."""

_ERROR_LENGTH = 120


@dataclass(slots=True, eq=False)
class Operation:
    """Commands that stay together.

    A call has an `answer` and an `expiry`, and is sent once. A durable operation is sent until
    Redis has taken it: `done` is told what became of it, and `dropped` that it was given up, both
    in a turn of the loop of their own, where they may fail. `since` is when it was made.
    """

    number: int
    commands: tuple[Command, ...]
    answer: asyncio.Future[list[Any]] | None = None
    durable: bool = False
    done: Callable[[Outcome], None] | None = None
    since: float = 0.0
    dropped: Callable[[], None] | None = None
    expiry: asyncio.TimerHandle | None = None

    def settle(self, answers: list[Any]) -> None:
        """Hand the answers out."""
        if self.expiry is not None:
            self.expiry.cancel()
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(answers)
        self.report(answers)

    def fail(self, why: str) -> None:
        """Say that Redis never gets it."""
        if self.expiry is not None:
            self.expiry.cancel()
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Unavailable(why))
        if self.dropped is not None:
            asyncio.get_running_loop().call_soon(self.dropped)
        self.report(Unavailable(why))

    def report(self, outcome: Outcome) -> None:
        """Tell whoever made a durable operation, unless it has been told."""
        done, self.done = self.done, None
        if done is not None:
            asyncio.get_running_loop().call_soon(done, outcome)


def text(error: Exception) -> str:
    """Return an error for the log; cut, because Redis may quote arguments behind its own words."""
    return f"{type(error).__name__}: {str(error).split(', with args', 1)[0]}"[:_ERROR_LENGTH]
