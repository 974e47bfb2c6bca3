"""Whether a user has what precedes its live messages, on whichever node it is."""

import asyncio

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.logic.bus import Bus
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.tasks import Tasks

PATIENCE = 10.0
"""Seconds for which a call over HTTP waits; a catch-up may take longer than its caller does."""


class Arrivals:
    """Waits for the end of catch-ups, and answers other nodes that do."""

    def __init__(self, *, hub: Hub, bus: Bus, catch_up: CatchUp, tasks: Tasks) -> None:
        self._hub = hub
        self._bus = bus
        self._catch_up = catch_up
        self._tasks = tasks
        # Who waits for another node to say it of a user.
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}

    async def complete(self, user_id: int) -> None:
        """Return when nothing older is on its way to the user, or the user is nowhere.

        Raises Unavailable if that takes too long, or cannot be known.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                client = self._hub.get(user_id)
                if client is not None:
                    await self._catch_up.ended(client)
                else:
                    await self._complete_elsewhere(user_id)
        except TimeoutError:
            raise Unavailable("the user is still being brought older messages") from None

    def asked(self, user_id: int, node: str) -> None:
        """Tell a node when nothing older is on its way to a user who is here."""
        client = self._hub.get(user_id)
        if client is None:
            self._bus.arrived(node, user_id)
        else:
            self._tasks.spawn(self._answer(client, node))

    def told(self, user_id: int) -> None:
        """Let go who waits for another node to say it of the user."""
        for waiting in self._waiting.pop(user_id, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def _complete_elsewhere(self, user_id: int) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, set()).add(waiting)
        try:
            if await self._bus.ask_arrived(user_id):
                await waiting
        finally:
            others = self._waiting.get(user_id)
            if others is not None:
                others.discard(waiting)
                if not others:
                    del self._waiting[user_id]

    async def _answer(self, client: Client, node: str) -> None:
        await self._catch_up.ended(client)
        self._bus.arrived(node, client.user_id)
