"""What stands in Redis of users who have no session: found by looking, and taken out."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog

from skyeim_ws.store.announcements import TOLD_KEY
from skyeim_ws.store.client import Client, masters
from skyeim_ws.store.keys import NODES_KEY
from skyeim_ws.store.nodes import node_sessions_key
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.presence import CHUNK, GROUP_KEY_PREFIX, USERS_KEY, chunks
from skyeim_ws.store.sessions import RedisSessions
from skyeim_ws.store.sets import pieces

log = structlog.get_logger()

_PAUSE_SECONDS = 0.02
"""Between two steps: whoever waits for Redis meanwhile waits for one step."""


class RedisOrphans:
    """`reconciliation.Orphans`."""

    def __init__(
        self, pipeline: Pipeline, client: Client, sessions: RedisSessions, node: str
    ) -> None:
        self._pipeline = pipeline
        self._client = client
        self._sessions = sessions
        self._node = node

    async def claim(self, name: str, seconds: float) -> bool:
        """Return whether this node is to look; for so long no other one is, under this name."""
        [mine] = await self._pipeline.call(
            ("SET", f"ws:sweeper:{name}", self._node, "NX", "PX", max(int(1000 * seconds), 1))
        )
        return mine is not None

    async def sweep(self) -> list[int]:
        """Take out who is online nowhere; return of whom friends believe that they are online."""
        removed = 0
        async for some in self._members(USERS_KEY):
            removed += await self._take_out(USERS_KEY, await self._homeless(some))
        async for key in self._group_keys():
            async for some in self._members(key):
                # Who is among the users has a session, or was taken out just now.
                [online] = await self._pipeline.call(("SMISMEMBER", USERS_KEY, *some))
                away = [user for user, flag in zip(some, online, strict=True) if not flag]
                removed += await self._take_out(key, await self._homeless(away))
        if removed:
            log.warning("orphans_removed", entries=removed)
        believed: list[int] = []
        async for some in self._members(TOLD_KEY):
            believed += await self._homeless(some)
        return believed

    async def _homeless(self, users: Sequence[int]) -> list[int]:
        """Return who has no session, or one of which its node knows nothing; that is taken away."""
        found: list[int] = []
        housed: list[tuple[int, str]] = []
        sessions = await self._sessions.sessions(users)
        for user_id, session in zip(users, sessions, strict=True):
            if session:
                housed.append((user_id, session))
            else:
                found.append(user_id)
        for user_id, session in await self._unknown(housed):
            await self._sessions.forget(user_id, session)
            found.append(user_id)
        return found

    async def _unknown(self, housed: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Return the sessions that their nodes do not list: each lists them before it claims."""
        if not housed:
            return []
        nodes = [session.split(" ")[0] for _, session in housed]
        names = list(dict.fromkeys(nodes))
        [scores] = await self._pipeline.call(("ZMSCORE", NODES_KEY, *names))
        alive = {name for name, score in zip(names, scores, strict=True) if score is not None}
        listed = await self._pipeline.call(
            *(
                ("HEXISTS", node_sessions_key(node), user_id)
                for node, (user_id, _) in zip(nodes, housed, strict=True)
            )
        )
        return [
            each
            for node, known, each in zip(nodes, listed, housed, strict=True)
            if not (known and node in alive)
        ]

    async def _take_out(self, key: str, users: Sequence[int]) -> int:
        if not users:
            return 0
        [removed] = await self._pipeline.call(("SREM", key, *users))
        # Whoever has logged in since was taken out wrongly; later logins come behind this.
        back = await self._sessions.anywhere(users)
        again = [user for user, there in zip(users, back, strict=True) if there]
        if again:
            await self._pipeline.call(("SADD", key, *again))
        return int(removed)

    async def _members(self, key: str) -> AsyncIterator[tuple[int, ...]]:
        async for users, _ in pieces(self._pipeline, key):
            for some in chunks(users):
                yield some
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _group_keys(self) -> AsyncIterator[str]:
        for redis in await masters(self._client):
            async for key in redis.scan_iter(
                match=GROUP_KEY_PREFIX + "*", count=CHUNK, _type="SET"
            ):
                yield key.decode()
