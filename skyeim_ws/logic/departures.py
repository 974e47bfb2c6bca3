"""Who has left this node and still stands in Redis: at most one entry for each user."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import structlog

from skyeim_ws.conn.hub import Hub
from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.logic.lately import Lately
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.shared_state import NodeSessions, Presence, SessionRegistry
from skyeim_ws.logic.watermarks import Mark, WatermarkStore

log = structlog.get_logger()

_AT_ONCE = 100
"""Users of one step, so that a node that loses all of them does not hold Redis up."""

_RETRY_SECONDS = 0.5
_LAST_SECONDS = 2.0
"""How long the rest may take at the end. Whoever remains is cleaned up after as after a death."""


@dataclass(frozen=True, slots=True)
class Departure:
    """What stands in Redis of a connection that has ended."""

    conn_id: str
    group_ids: tuple[str, ...]
    replaced: bool
    """Whether the user is elsewhere: then only the note of this node is to go."""
    confirmed: Mark | None = None
    """How far the user has confirmed all, if that is not written yet."""


class Departures:
    """Undoes logins; `start` it on a running loop.

    A set of users and not a queue of writes: it has as many entries as there are users, so it needs
    no bound and drops nothing. For whoever comes back nothing is undone. `on_left` is called with
    those who are nowhere now, and with those who are elsewhere.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        registry: SessionRegistry,
        presence: Presence,
        node_sessions: NodeSessions,
        watermarks: WatermarkStore,
        on_left: Callable[[Sequence[int], Sequence[int]], None],
    ) -> None:
        self._hub = hub
        self._registry = registry
        self._presence = presence
        self._node_sessions = node_sessions
        self._watermarks = watermarks
        self._on_left = on_left
        self._left: dict[int, Departure] = {}
        self._undone = Lately[Departure]()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._left)

    def start(self) -> asyncio.Task[None]:
        """Begin; return the task, which ends at `close` alone, or by a fault."""
        self._task = asyncio.create_task(self._run())
        return self._task

    async def close(self) -> None:
        """Undo what can be undone in a moment, and stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._empty.wait()
        if self._left:
            log.warning("departures_left", users=len(self._left))
        if self._task is not None:
            await cancel_and_wait(self._task)

    def add(self, user_id: int, departure: Departure) -> None:
        """Undo the login of a connection that has ended."""
        self._left[user_id] = departure
        self._empty.clear()
        self._wake.set()

    def returned(self, user_id: int) -> Departure | None:
        """Undo nothing for a user who is here again; return what was to be undone.

        The user still stands in its groups, and would stay there if it left before this login had
        found them.
        """
        return self._left.pop(user_id, None)

    def recovered(self) -> None:
        """Undo once more what was undone just before Redis was lost: it may have forgotten it."""
        for user_id, departure in self._undone.take().items():
            if user_id not in self._hub and user_id not in self._left:
                self.add(user_id, replace(departure, confirmed=None))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            try:
                await self._undo(dict(islice(self._left.items(), _AT_ONCE)))
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            if not self._left:
                self._wake.clear()
                self._empty.set()

    async def _undo(self, some: dict[int, Departure]) -> None:
        # What stands behind these calls in the one queue to Redis comes later for it too. So it is
        # enough to look before each who is here again.
        if marks := [mark for user in self._away(some) if (mark := some[user].confirmed)]:
            await self._watermarks.advance(marks)
        # Also of those whose place was taken: they have put back what they had in their hands.
        ending = self._away(some)
        free = await self._registry.release([(user, some[user].conn_id) for user in ending])
        gone = [
            user_id
            for user_id, none in zip(ending, free, strict=True)
            if none and not some[user_id].replaced
        ]
        await self._presence.leave({user: some[user].group_ids for user in self._away(gone)})
        await self._node_sessions.leave(self._away(some))
        for user_id, departure in some.items():
            if self._left.get(user_id) is departure:
                del self._left[user_id]
                self._undone.add(user_id, departure)
        # Those who were replaced, or whose session is another one by now.
        moved = set(self._away(some)).difference(gone)
        self._on_left(gone, list(moved))

    def _away(self, user_ids: Sequence[int] | dict[int, Departure]) -> list[int]:
        return [user_id for user_id in user_ids if user_id not in self._hub]
