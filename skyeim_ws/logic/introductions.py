"""Writes who is here for all to know, and has friends told: many users in one step."""

import asyncio
from collections.abc import Sequence
from itertools import islice

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Text
from skyeim_ws.logic.announcer import Announcer
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.shared_state import NodeSessions, Presence
from skyeim_ws.logic.tasks import Tasks

log = structlog.get_logger()

AT_ONCE = 500
"""Users of one step; who comes meanwhile waits for the next."""

_RETRY_SECONDS = 1.0


class Introductions:
    """What follows a login when the groups of the user are known; its client does not wait."""

    def __init__(
        self,
        *,
        hub: Hub,
        node_sessions: NodeSessions,
        presence: Presence,
        announcer: Announcer,
        tasks: Tasks,
    ) -> None:
        self._hub = hub
        self._node_sessions = node_sessions
        self._presence = presence
        self._announcer = announcer
        self._tasks = tasks
        # Users of this node, so there are never more than `MaxConns`.
        self._waiting: dict[int, Client] = {}
        self._running = False

    def add(self, client: Client) -> None:
        """Introduce a user, unless another connection has taken the place of this one."""
        if self._hub.get(client.user_id) is not client:
            return
        self._waiting[client.user_id] = client
        if not self._running:
            self._running = True
            self._tasks.spawn(self._run())

    async def introduce(self, clients: Sequence[Client]) -> None:
        """Write users as online in their groups, whether they stand there or not.

        Raises Unavailable.
        """
        # Who is here is asked before each call: whoever leaves later is taken out behind it.
        await self._node_sessions.enter_again(
            [(c.user_id, c.conn_id, session_of(c).group_ids) for c in self._here(clients)]
        )
        # After a login once more: a session that was taken over may just have taken the user out.
        await self._presence.enter_again(
            {c.user_id: session_of(c).group_ids for c in self._here(clients)}
        )
        self._announcer.note(c.user_id for c in self._here(clients))

    async def _run(self) -> None:
        try:
            while self._waiting:
                some = list(islice(self._waiting.values(), AT_ONCE))
                for client in some:
                    del self._waiting[client.user_id]
                await self._step(some)
        finally:
            self._running = False

    async def _step(self, clients: Sequence[Client]) -> None:
        try:
            await self.introduce(clients)
        except Unavailable as error:
            log.debug("group_presence_not_written", users=len(clients), error=str(error))
            # Friends on this node are told also while Redis is away.
            self._announcer.note(c.user_id for c in clients)
            await asyncio.sleep(_RETRY_SECONDS)
            for client in self._here(clients):
                self._waiting.setdefault(client.user_id, client)
        except Exception:
            log.exception("background_task_failed")
            for client in clients:
                client.disconnect(CloseCode.INTERNAL_ERROR, Text.INTERNAL_ERROR())

    def _here(self, clients: Sequence[Client]) -> list[Client]:
        return [client for client in clients if self._hub.get(client.user_id) is client]
