"""The task that brings notices to the push service: one node at a time, until each was taken."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.webhook.post import Answer, Verdict

log = structlog.get_logger()

BATCH = 100
MAX_BYTES = 1024 * 1024
"""Notices, and bytes of them, in one POST."""

TICK = 1.0
"""Seconds between two looks for what other nodes have left."""

PAUSE = 0.05
"""Seconds in which notices gather, so that one POST has several."""

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
MARGIN = 2.0
"""Seconds that a node keeps its hold beyond what it means to need."""

_LOG_EVERY = 60.0


class Notices(Protocol):
    """The queue of notices, which all nodes share."""

    added: asyncio.Event
    waiting: int
    dropped: int

    async def hold(self, seconds: float) -> bool:
        """Return whether this node is the one that posts, for so long; raises Unavailable."""

    def release(self) -> None:
        """Let another node post."""

    async def oldest(self, count: int) -> list[tuple[bytes, bytes]]:
        """Return the id and the JSON of the notices that wait longest; raises Unavailable."""

    def remove(self, names: Sequence[bytes]) -> None:
        """Take out notices by their ids."""


class Webhook:
    """Posts what waits; `timeout` is the seconds that a POST may take.

    A notice leaves the queue when the service has taken or refused it, so it may come twice.
    """

    def __init__(
        self,
        notices: Notices,
        post: Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[Answer]],
        timeout: float,
    ) -> None:
        self.posted = 0
        self.refused = 0
        self.failures = 0
        self._notices = notices
        self._post = post
        self._lease = timeout + MARGIN
        self._failed = 0
        self._drops_said = 0
        self._said_at = -math.inf

    async def run(self) -> None:
        """Post for ever; ends by cancellation alone."""
        while True:
            await self._wait()
            try:
                while await self._notices.hold(self._lease) and await self._post_some():
                    self._say_drops()
            except Unavailable:
                pass  # Redis is away, which is told of elsewhere; what waits is there after it
            except Exception:  # a push service must not stop a gateway
                log.exception("webhook_failed")
            self._say_drops()

    async def _wait(self) -> None:
        await asyncio.sleep(PAUSE)
        try:
            async with asyncio.timeout(TICK):
                await self._notices.added.wait()
        except TimeoutError:
            pass
        self._notices.added.clear()

    async def _post_some(self) -> bool:
        """Post the oldest notices once; return whether there may be more."""
        some = fitting(await self._notices.oldest(BATCH))
        if not some:
            self._notices.release()
            return False
        answer = await self._post(some)
        if answer.verdict is Verdict.LATER:
            await self._back_off(answer)
            return True
        if answer.verdict is Verdict.REFUSED:
            self.refused += len(some)
            log.error("webhook_refused", answer=answer.why, notices=len(some))
        else:
            self.posted += len(some)
            if self._failed:
                log.info("webhook_recovered", failures=self._failed)
        self._failed = 0
        self._notices.remove([name for name, _ in some])
        return True

    async def _back_off(self, answer: Answer) -> None:
        self.failures += 1
        self._failed += 1
        if self._failed == 1:
            log.warning("webhook_not_reached", answer=answer.why)
        pause = max(backoff(self._failed), answer.pause)
        if await self._notices.hold(pause + self._lease):
            await asyncio.sleep(pause)

    def _say_drops(self) -> None:
        now = asyncio.get_running_loop().time()
        count = self._notices.dropped - self._drops_said
        if count and now - self._said_at >= _LOG_EVERY:
            self._drops_said, self._said_at = self._notices.dropped, now
            log.error("webhook_notices_dropped", count=count)


def backoff(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: full jitter."""
    longest = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 30), LONGEST_BACKOFF)
    return random.uniform(0, longest)  # noqa: S311


def fitting(notices: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the first notices, as many as a POST may have; one of any size."""
    chosen: list[tuple[bytes, bytes]] = []
    size = 0
    for notice in notices:
        size += len(notice[1])
        if chosen and size > MAX_BYTES:
            break
        chosen.append(notice)
    return chosen
