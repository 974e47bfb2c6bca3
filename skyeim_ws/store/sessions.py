"""Which connection, on which node, is the session of a user: one over the whole cluster."""

from collections import defaultdict
from collections.abc import Sequence

from skyeim_ws.logic.shared_state import Claim, Reclaimed
from skyeim_ws.store import scripts
from skyeim_ws.store.keys import (
    holders_key,
    missed_key,
    new_mark,
    queue_key,
    session_key,
    watermark_key,
)
from skyeim_ws.store.offline import SLACK, RedisOfflineQueue, choose
from skyeim_ws.store.pipeline import Pipeline

CLEAN = "clean"
"""Stands in for a session that has ended in order: what it had not confirmed is in the queue.

Behind it, as behind a session, stands the life of Redis in which it was written."""

_AT_ONCE = 500
"""Users in one look-up, so that no single one holds Redis up."""

_HOLDERS_TTL = 3600
"""Of sessions whose nodes neither say that they have ended, nor die."""


def is_session(text: str) -> bool:
    """Return whether it is a session, `<node> <connection> <life>`, and not the mark of its end."""
    return " " in text


class RedisSessions:
    """`shared_state.SessionRegistry` for one node."""

    def __init__(self, pipeline: Pipeline, queue: RedisOfflineQueue, node: str) -> None:
        self._pipeline = pipeline
        self._queue = queue
        self._node = node
        self._claim = scripts.read("holders", "life", "claim_session")
        self._reclaim = scripts.read("holders", "life", "reclaim_session")
        self._end = scripts.read("holders", "life", "end_session")
        self._reap = scripts.read("holders", "reap_session")
        self._caught_up = scripts.read("caught_up")
        self._forget = scripts.read("forget")

    async def claim(self, user_id: int, conn_id: str, limit: int) -> Claim:
        """Take the session over and read the newest `limit` entries of the offline queue."""
        keys = (
            *(session_key(user_id), queue_key(user_id)),
            *(missed_key(user_id), holders_key(user_id), watermark_key(user_id)),
        )
        arguments = (
            *(self._own(conn_id), limit + SLACK, CLEAN, new_mark()),
            *(_HOLDERS_TTL, self._queue.ttl),
        )
        [answer] = await self._pipeline.call(("EVAL", self._claim, len(keys), *keys, *arguments))
        previous, length, head, missed, own, watermark, forgetful = answer
        choice = choose(head, length, None, limit)
        self._queue.discard(user_id, choice.unreadable)
        node, _, previous_conn = previous.decode().partition(" ")
        return Claim(
            window=choice.window,
            node=node,
            conn_id=previous_conn,
            missed=missed.decode(),
            here=node == self._node,
            own=own.decode(),
            watermark=int(watermark),
            forgetful=bool(forgetful),
        )

    async def reclaim(self, connections: Sequence[tuple[int, str]]) -> list[Reclaimed]:
        """Write the sessions of open connections again, but never over that of a newer login.

        Of one user Redis may refuse it, and not of the others.
        """
        if not connections:
            return []
        answers = await self._pipeline.call_each(
            *(
                (
                    *("EVAL", self._reclaim, 4, session_key(user_id), missed_key(user_id)),
                    *(
                        holders_key(user_id),
                        watermark_key(user_id),
                        self._own(conn_id),
                        CLEAN,
                        new_mark(),
                        self._queue.ttl,
                        _HOLDERS_TTL,
                    ),
                )
                for user_id, conn_id in connections
            )
        )
        return [
            Reclaimed(ours=False, refused=True)
            if isinstance(answer, Exception)
            else self._reclaimed(*answer)
            for answer in answers
        ]

    async def release(self, connections: Sequence[tuple[int, str]]) -> list[bool]:
        """End the sessions that are these connections'; return which users have none now."""
        if not connections:
            return []
        answers = await self._pipeline.call_each(
            *(
                (
                    *("EVAL", self._end, 2, session_key(user_id), holders_key(user_id)),
                    *(self._own(conn_id), CLEAN, self._queue.ttl),
                )
                for user_id, conn_id in connections
            )
        )
        return [answer != 0 for answer in answers]

    def note_missed(self, user_id: int, *, for_now: bool = False) -> str:
        """Note, until it is forgotten, that the user may have missed messages; return how.

        A note `for_now`, which may prove wrong, does not take the place of another.
        """
        missed = new_mark()
        self._pipeline.submit(
            (
                "SET",
                missed_key(user_id),
                missed,
                "EX",
                self._queue.ttl,
                *(("NX",) if for_now else ()),
            ),
        )
        return missed

    def caught_up(self, user_id: int, missed: str) -> None:
        """Note that the user has got what was missed; what was noted later stays."""
        keys = (missed_key(user_id), watermark_key(user_id))
        self._pipeline.submit(("EVAL", self._caught_up, len(keys), *keys, missed))

    def forget_missed(self, user_id: int, missed: str) -> None:
        """Take a note away that has proved wrong; what was noted later stays."""
        self._pipeline.submit(("EVAL", self._forget, 1, missed_key(user_id), missed))

    async def anywhere(self, user_ids: Sequence[int]) -> list[bool]:
        """Return which of the users have a session on any node."""
        return [session != "" for session in await self.sessions(user_ids)]

    async def sessions(self, user_ids: Sequence[int]) -> list[str]:
        """Return the sessions of users, as they stand in Redis; '' where there is none."""
        if not user_ids:
            return []
        keys = list(map(session_key, user_ids))
        if self._pipeline.sharded:
            found = await self._pipeline.call_each(*(("GET", key) for key in keys))
        else:
            [found] = await self._pipeline.call(("MGET", *keys))
        readable = [session.decode() if isinstance(session, bytes) else "" for session in found]
        return [session if is_session(session) else "" for session in readable]

    async def nodes(self, user_ids: Sequence[int]) -> dict[str, list[int]]:
        """Return the nodes on which any of the users are, each with those of them."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for start in range(0, len(user_ids), _AT_ONCE):
            some = user_ids[start : start + _AT_ONCE]
            for user_id, session in zip(some, await self.sessions(some), strict=True):
                if session:
                    found[session.partition(" ")[0]].append(user_id)
        return found

    async def forget(self, user_id: int, session: str) -> None:
        """Take out a session whose node does not have it, unless another stands there by now."""
        await self._pipeline.call(("EVAL", self._forget, 1, session_key(user_id), session))

    async def reap(self, sessions: Sequence[tuple[int, str]]) -> list[int]:
        """End the sessions of a dead node, given with their users; return who had no newer one."""
        if not sessions:
            return []
        answers = await self._pipeline.call_each(
            *(
                (
                    *("EVAL", self._reap, 3, session_key(user_id), missed_key(user_id)),
                    *(holders_key(user_id), session, new_mark(), self._queue.ttl),
                )
                for user_id, session in sessions
            )
        )
        pairs = zip(sessions, answers, strict=True)
        return [user_id for (user_id, _), reaped in pairs if reaped != 0]

    def _reclaimed(
        self, ours: int, missed: bytes, previous: bytes, own: bytes, watermark: bytes
    ) -> Reclaimed:
        node, _, conn_id = previous.decode().partition(" ")
        # Also of an earlier connection here, which the hub has replaced.
        elsewhere = node != self._node
        return Reclaimed(
            ours=bool(ours),
            node=node if elsewhere else "",
            conn_id=conn_id if elsewhere else "",
            missed=missed.decode(),
            own=own.decode(),
            watermark=int(watermark),
        )

    def _own(self, conn_id: str) -> str:
        return f"{self._node} {conn_id}"
