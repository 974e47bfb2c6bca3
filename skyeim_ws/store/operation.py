"""One operation on its way to Redis: its commands, and who is told the outcome."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store.shard import Command

Outcome = list[Any] | Unavailable | None
"""The answers; or why Redis never gets it; or None: not yet, and the operation goes on waiting."""

_ERROR_LENGTH = 120


@dataclass(slots=True, eq=False)
class Operation:
    """Commands that stay together.

    A call is sent once; it has an `answer` and an `expiry`. A durable operation is sent until Redis
    has taken it: `done` gets the outcome, once, and `dropped` is called if it is given up. Both run
    in a turn of the loop of their own, so that a fault in them stops nothing. One with `forgotten`
    is sent again if Redis is lost soon after; then that takes the place of `dropped`. `since` is
    the time at which the operation was made. A call for `each` command may have errors as answers.
    """

    number: int
    commands: tuple[Command, ...]
    answer: asyncio.Future[list[Any]] | None = None
    durable: bool = False
    done: Callable[[Outcome], None] | None = None
    since: float = 0.0
    dropped: Callable[[], None] | None = None
    forgotten: Callable[[], None] | None = None
    expiry: asyncio.TimerHandle | None = None
    each: bool = False

    def settle(self, answers: list[Any]) -> None:
        """Pass the answers on."""
        if self.expiry is not None:
            self.expiry.cancel()
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(answers)
        if self.done is not None:
            self.report(answers)

    def fail(self, why: str) -> None:
        """Say that Redis will never get this."""
        if self.expiry is not None:
            self.expiry.cancel()
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Unavailable(why))
        if self.dropped is not None:
            asyncio.get_running_loop().call_soon(self.dropped)
        self.report(Unavailable(why))

    def report(self, outcome: Outcome) -> None:
        """Call `done` with the outcome, if it has not been called yet."""
        done, self.done = self.done, None
        if done is not None:
            asyncio.get_running_loop().call_soon(done, outcome)


def text(error: Exception) -> str:
    """Return an error for the log. It is cut, because Redis may quote arguments at its end."""
    return f"{type(error).__name__}: {str(error).split(', with args', 1)[0]}"[:_ERROR_LENGTH]
