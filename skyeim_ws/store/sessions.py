"""Which connection, on which node, is the session of a user: one over the whole cluster."""

from collections.abc import Sequence

import structlog

from skyeim_ws.logic.ports import Claim
from skyeim_ws.store import scripts
from skyeim_ws.store.keys import queue_key, session_key
from skyeim_ws.store.offline import SLACK, RedisOfflineQueue, choose
from skyeim_ws.store.pipeline import Pipeline

log = structlog.get_logger()

UNCLEAN = "unclean"
"""Stands in for a session whose node died: what it had not confirmed is known to SQL alone."""


class RedisSessions:
    """`ports.SessionRegistry` for one node."""

    def __init__(self, pipeline: Pipeline, queue: RedisOfflineQueue, node: str) -> None:
        self._pipeline = pipeline
        self._queue = queue
        self._node = node
        self._claim = scripts.read("claim_session")
        self._reclaim = scripts.read("reclaim_session")
        self._end = scripts.read("end_session")

    async def claim(self, user_id: int, conn_id: str, limit: int) -> Claim:
        """Take the session over and read the newest `limit` entries of the offline queue."""
        [[previous, length, head]] = await self._pipeline.call(
            (
                *("EVAL", self._claim, 2, session_key(user_id), queue_key(user_id)),
                *(self._own(conn_id), limit + SLACK),
            )
        )
        choice = choose(head, length, None, limit)
        self._queue.discard(user_id, choice.unreadable)
        node, _, previous_conn = previous.decode().partition(" ")
        return Claim(
            window=choice.window,
            node=node if previous_conn else "",
            conn_id=previous_conn,
            unclean=node == UNCLEAN,
            here=node == self._node,
        )

    async def reclaim(self, connections: Sequence[tuple[int, str]]) -> list[bool]:
        """Write the sessions of open connections again; False for one that a newer login has."""
        if not connections:
            return []
        answers = await self._pipeline.call(
            *(
                ("EVAL", self._reclaim, 1, session_key(user_id), self._own(conn_id), UNCLEAN)
                for user_id, conn_id in connections
            )
        )
        return [not answer for answer in answers]

    def release(self, user_id: int, conn_id: str) -> None:
        """End the session if it is still this connection's; kept while Redis is away."""
        self._pipeline.submit(("EVAL", self._end, 1, session_key(user_id), self._own(conn_id), ""))

    async def anywhere(self, user_id: int) -> bool:
        """Whether the user has a session on any node."""
        [session] = await self._pipeline.call(("GET", session_key(user_id)))
        return session is not None and session != UNCLEAN.encode()

    async def bury(self, sessions: Sequence[tuple[int, str]]) -> list[int]:
        """Mark sessions, as user and value, of a dead node; return the users who had no newer."""
        if not sessions:
            return []
        answers = await self._pipeline.call(
            *(
                ("EVAL", self._end, 1, session_key(user_id), session, UNCLEAN)
                for user_id, session in sessions
            )
        )
        pairs = zip(sessions, answers, strict=True)
        return [user_id for (user_id, _), buried in pairs if buried]

    def _own(self, conn_id: str) -> str:
        return f"{self._node} {conn_id}"
