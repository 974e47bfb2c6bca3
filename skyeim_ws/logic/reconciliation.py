"""Compares at a slow pace what Redis and friends believe with who is here."""

import asyncio
import random
from contextlib import suppress
from typing import Protocol

import structlog

from skyeim_ws.conn.hub import Hub
from skyeim_ws.logic.announcer import Announcer
from skyeim_ws.logic.introductions import AT_ONCE, Introductions
from skyeim_ws.logic.ports import Unavailable

log = structlog.get_logger()

_PAUSE_SECONDS = 0.05
"""Between two steps: the chat comes first."""

_REPAIR_SECONDS = 5.0
"""For so long after a repair that was asked for, the nodes do not look for orphans once more."""


class Orphans(Protocol):
    """What stands in the shared state of users who are nowhere; `store` implements it."""

    async def claim(self, name: str, seconds: float) -> bool:
        """Return whether this node is to look for them, and no other one for so long.

        Raises Unavailable.
        """

    async def sweep(self) -> list[int]:
        """Take them out; return whom friends believe to be online. Raises Unavailable."""


class Reconciliation:
    """One pass each `interval` seconds, or when `ask`ed.

    The users of this node are written as online, whether they are or not, and their friends are
    told if they were told something else. One of the nodes looks for what is left of users who are
    gone.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        introductions: Introductions,
        announcer: Announcer,
        orphans: Orphans,
        interval: float,
    ) -> None:
        self._hub = hub
        self._introductions = introductions
        self._announcer = announcer
        self._orphans = orphans
        self._interval = interval
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Compare now."""
        self._asked.set()

    async def run(self) -> None:
        """Make the passes, for good."""
        while True:
            with suppress(TimeoutError):
                # Jitter: the nodes may have been started together.
                async with asyncio.timeout(self._interval * random.uniform(0.75, 1.25)):  # noqa: S311
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            try:
                await self._announcer.mark()
                await self._own()
                if await self._is_mine(asked):
                    self._announcer.note(await self._orphans.sweep())
            except Unavailable as error:
                log.info("reconciliation_delayed", error=str(error))
            except Exception:
                log.exception("reconciliation_failed")

    async def _is_mine(self, asked: bool) -> bool:
        if asked:
            return await self._orphans.claim("now", _REPAIR_SECONDS)
        return await self._orphans.claim("always", self._interval)

    async def _own(self) -> None:
        clients = list(self._hub)
        for start in range(0, len(clients), AT_ONCE):
            some = clients[start : start + AT_ONCE]
            await self._introductions.introduce(some)
            await asyncio.sleep(_PAUSE_SECONDS)
