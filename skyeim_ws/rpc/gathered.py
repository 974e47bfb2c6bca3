"""Group commit for look-ups: who comes while calls are under way is asked for in the next."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

from skyeim_ws.contract.names import MAX_USERS
from skyeim_ws.logic.ports import Refused, Unavailable

CONCURRENT_CALLS = 2

T = TypeVar("T")


class Gathered(Generic[T]):
    """What services know of single users, asked for together.

    `together` returns what it has found of some users, or None if the server cannot be asked so;
    `alone` is for those who are missing. Both raise Refused or Unavailable. `spawn` runs a task of
    which somebody awaits the end.
    """

    def __init__(
        self,
        together: Callable[[Sequence[int]], Awaitable[Mapping[int, T] | None]],
        alone: Callable[[int], Awaitable[T]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._together = together
        self._alone = alone
        self._spawn = spawn
        # Those who are not asked for yet, in order. What is being asked may have been read already,
        # before what the next one comes to see: so nobody joins it.
        self._waiting: dict[int, asyncio.Future[T]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def get(self, user_id: int) -> T:
        """Return what is known of a user; raises as the calls do."""
        answer = self._waiting.get(user_id)
        if answer is None:
            answer = self._waiting[user_id] = asyncio.get_running_loop().create_future()
            # Whoever has waited may have gone.
            answer.add_done_callback(_seen)
            self._call()
        return await asyncio.shield(answer)

    def _call(self) -> None:
        if self._waiting and len(self._calls) < CONCURRENT_CALLS:
            call = self._spawn(self._fetch())
            self._calls.add(call)
            call.add_done_callback(self._called)

    def _called(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._call()

    async def _fetch(self) -> None:
        # Here, not where the task was made: others have come in the same turn.
        users = list(self._waiting)[:MAX_USERS]
        answers = {user_id: self._waiting.pop(user_id) for user_id in users}
        if not users:
            return
        found: Mapping[int, T] = {}
        try:
            found = await self._together(users) or {}
        except (Refused, Unavailable) as error:
            for answer in answers.values():
                answer.set_exception(error)
            return
        except BaseException as error:
            for answer in answers.values():
                answer.set_exception(Unavailable(type(error).__name__))
            raise
        for user_id in users:
            if user_id in found:
                answers[user_id].set_result(found[user_id])
        await asyncio.gather(
            *(self._fetch_alone(each, answers[each]) for each in users if each not in found)
        )

    async def _fetch_alone(self, user_id: int, answer: "asyncio.Future[T]") -> None:
        try:
            found = await self._alone(user_id)
        except (Refused, Unavailable) as error:
            answer.set_exception(error)
        except BaseException as error:
            answer.set_exception(Unavailable(type(error).__name__))
            raise
        else:
            answer.set_result(found)


def _seen(answer: "asyncio.Future[T]") -> None:
    if not answer.cancelled():
        answer.exception()
