"""Which nodes are alive: a lease for each, and the cleaning up after one that died."""

import asyncio
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic

import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store import scripts
from skyeim_ws.store.keys import EPOCH_KEY, NODES_KEY
from skyeim_ws.store.leases import Leases
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.presence import USERS_KEY, chunks, group_key
from skyeim_ws.store.records import RECORDS_KEY, NodeRecord, encode, listing, read_listing
from skyeim_ws.store.sessions import RedisSessions
from skyeim_ws.store.shard import Command

log = structlog.get_logger()

OnReaped = Callable[[Sequence[int], Sequence[int]], None]

RENEW_SECONDS = 5.0
DEAD_AFTER = 15.0
_REAPER_SECONDS = 30
"""How long one node has to clean up before another may try."""


def node_sessions_key(node: str) -> str:
    """Return the key of a node's users: a hash from user to connection and groups."""
    return f"ws:sessions:{node}"


class NodeLease:
    """Renews the lease of this node, and cleans up after dead ones.

    `renewed`: the last renewal was taken, which is a write. `others`: how many nodes are listed
    besides this one. The users of a node that is reaped are marked, so that on their next login
    they get what it may have had in its hands.

    A node that finds others beside which it may not stand never joins them: `refused` says why.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sessions: RedisSessions,
        node: str,
        *,
        record: NodeRecord | None = None,
        renew_seconds: float = RENEW_SECONDS,
        dead_after: float = DEAD_AFTER,
    ) -> None:
        self._pipeline = pipeline
        self._sessions = sessions
        self._node = node
        self._record = record or NodeRecord()
        self._renew_seconds = renew_seconds
        self._dead_after = dead_after
        self._renew = scripts.read("renew_lease")
        self._renewed = -math.inf
        # Of the data of Redis in which this node is listed; empty before it is.
        self._epoch = b""
        self._look = asyncio.Event()
        self.renewed = False
        self.others = 0
        self.refused = ""
        self._task: asyncio.Task[None] | None = None
        self._reapers: dict[str, asyncio.Task[None]] = {}

    def start(
        self,
        *,
        on_lost: Callable[[], None],
        on_reaped: OnReaped,
        on_refused: Callable[[], None] = lambda: None,
    ) -> asyncio.Task[None]:
        """Begin to renew; return the task, which ends at `close` alone, or by a fault.

        `on_lost` is called when the others have taken this node for dead; `on_reaped` with the
        users that a dead node has left offline, and those who had moved to another one before;
        `on_refused` once, if this node may not join the others.
        """
        self._task = asyncio.create_task(self._run(on_lost, on_reaped, on_refused))
        return self._task

    @property
    def listed(self) -> bool:
        """Whether the others take this node to be alive."""
        return monotonic() - self._renewed < self._dead_after

    def look(self) -> None:
        """Renew now: Redis may have been emptied."""
        self._look.set()

    async def close(self) -> None:
        """Give the lease up; but if users are still listed, let the others clean up after them."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        await cancel_and_wait(*self._reapers.values())
        try:
            [left] = await self._pipeline.call(("HLEN", node_sessions_key(self._node)))
        except Unavailable:
            return
        if left == 0:
            self._pipeline.submit(
                ("ZREM", NODES_KEY, self._node), ("HDEL", RECORDS_KEY, self._node)
            )

    def enter(
        self,
        user_id: int,
        conn_id: str,
        group_ids: Sequence[str],
        done: Callable[[bool], None] | None = None,
    ) -> None:
        """Note what has to be cleaned up for a user if this node dies.

        `done` is called once, later: with True when Redis has it, with False if it has not after
        some seconds. Even then Redis may get it later.
        """
        self._pipeline.submit(
            ("HSET", node_sessions_key(self._node), user_id, _record(conn_id, group_ids)),
            done=done and (lambda outcome: done(isinstance(outcome, list))),
        )

    async def enter_again(self, users: Sequence[tuple[int, str, Sequence[str]]]) -> None:
        """Note users with their connections and groups, after an outage; raises Unavailable."""
        if users:
            fields: list[str | int] = []
            for user_id, conn_id, group_ids in users:
                fields += (user_id, _record(conn_id, group_ids))
            await self._pipeline.call(("HSET", node_sessions_key(self._node), *fields))

    async def leave(self, user_ids: Sequence[int]) -> None:
        """Forget users."""
        if user_ids:
            await self._pipeline.call_each(("HDEL", node_sessions_key(self._node), *user_ids))

    async def reap_all(self) -> list[int]:
        """Clean up after all other nodes at once; only for a Redis that no other node uses.

        Returns the users whom they have left offline.
        """
        gone: list[int] = []
        [nodes] = await self._pipeline.call(("ZRANGE", NODES_KEY, 0, -1))
        for node in nodes:
            if node.decode() != self._node:
                gone += (await self._reap(node.decode()))[0]
        return gone

    async def _run(
        self,
        on_lost: Callable[[], None],
        on_reaped: OnReaped,
        on_refused: Callable[[], None],
    ) -> None:
        leases = Leases(pause=self._renew_seconds, dead_after=self._dead_after)
        while True:
            try:
                if not self._epoch and await self._may_not_join():
                    on_refused()
                    await asyncio.Event().wait()
                others = await self._renew_lease(on_lost)
                for node in leases.look(monotonic(), others):
                    self._begin_reaping(node.decode(), on_reaped)
            except Unavailable:
                leases.forget()
                self.renewed = False
            except Exception:
                log.exception("node_lease_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._renew_seconds):
                    await self._look.wait()
            self._look.clear()

    async def _renew_lease(self, on_lost: Callable[[], None]) -> dict[bytes, bytes]:
        """Give a sign of life; return those of the others, by node."""
        asked = monotonic()
        [known, signs], _, _, epoch = await self._pipeline.call(
            ("EVAL", self._renew, 1, NODES_KEY, self._node),
            ("HSET", RECORDS_KEY, self._node, encode(self._record)),
            ("SET", EPOCH_KEY, uuid.uuid4().hex, "NX"),
            ("GET", EPOCH_KEY),
        )
        if self._epoch and self._epoch != epoch:
            log.warning("redis_was_emptied", node=self._node)
            on_lost()
        elif self._epoch and not known:
            log.warning("node_was_taken_for_dead", node=self._node)
            on_lost()
        self._epoch, self._renewed, self.renewed = epoch, asked, True
        others = dict(zip(signs[::2], signs[1::2], strict=True))
        others.pop(self._node.encode(), None)
        self.others = len(others)
        return others

    async def _may_not_join(self) -> bool:
        """Look for living nodes beside which this one may not stand; the first is told of."""
        for seen in read_listing(*await self._pipeline.call(*listing())):
            other = seen.record or NodeRecord()
            if seen.silent < self._dead_after and not self._record.fits(other):
                self.refused = (
                    f"the node {seen.node} (version {other.version}) uses the channel format "
                    f"{other.format}, which this version {self._record.version} does not know: "
                    "start the version of the others, or stop them first"
                )
                log.error("node_format_unknown", node=seen.node, format=other.format)
                return True
        return False

    def _begin_reaping(self, node: str, on_reaped: OnReaped) -> None:
        """Clean up in a task of its own: for many users it may take longer than a lease lasts."""
        if node not in self._reapers:
            reaper = asyncio.create_task(self._reap_and_tell(node, on_reaped))
            self._reapers[node] = reaper
            reaper.add_done_callback(lambda _: self._reapers.pop(node, None))

    async def _reap_and_tell(self, node: str, on_reaped: OnReaped) -> None:
        try:
            on_reaped(*await self._reap(node))
        except Unavailable as error:
            log.warning("node_reaping_delayed", node=node, error=str(error))
        except Exception:
            log.exception("node_lease_failed")

    async def _reap(self, node: str) -> tuple[list[int], list[int]]:
        claim: Command = ("SET", f"ws:reaper:{node}", self._node, "NX", "EX", _REAPER_SECONDS)
        [mine, listed] = await self._pipeline.call(claim, ("HGETALL", node_sessions_key(node)))
        if not mine:
            return [], []
        try:
            return await self._clean_up(node, dict(zip(listed[::2], listed[1::2], strict=True)))
        finally:
            # Also after a failure, so that the next try need not wait until the claim expires.
            self._pipeline.submit(("DEL", f"ws:reaper:{node}"))

    async def _clean_up(
        self, node: str, node_sessions: Mapping[bytes, bytes]
    ) -> tuple[list[int], list[int]]:
        records = dict(filter(None, map(_read_record, node_sessions.items())))
        if unreadable := len(node_sessions) - len(records):
            log.warning("node_sessions_unreadable", node=node, count=unreadable)
        log.warning("node_died", node=node, users=len(records))
        gone: list[int] = []
        moved: list[int] = []
        for some in chunks(records):
            sessions = [(user_id, f"{node} {records[user_id][0]}") for user_id in some]
            reaped = await self._sessions.reap(sessions)
            gone += reaped
            moved += set(some).difference(reaped)
            if reaped:
                groups = {group_id for user_id in reaped for group_id in records[user_id][1:]}
                commands: list[Command] = [("SREM", USERS_KEY, *reaped)]
                commands += [("SREM", group_key(group_id), *reaped) for group_id in groups]
                # What Redis refuses for one group or user must not hold up the others for ever.
                await self._pipeline.call_each(*commands)
        await self._pipeline.call(
            ("ZREM", NODES_KEY, node),
            ("HDEL", RECORDS_KEY, node),
            ("DEL", node_sessions_key(node)),
        )
        return gone, moved


def _record(conn_id: str, group_ids: Sequence[str]) -> str:
    return json.dumps([conn_id, *group_ids])


def _read_record(entry: tuple[bytes, bytes]) -> tuple[int, list[str]] | None:
    """Return a user with connection and groups; None if another program has written it."""
    try:
        user_id, record = int(entry[0]), json.loads(entry[1])
    except ValueError:
        return None
    readable = isinstance(record, list) and record and all(isinstance(x, str) for x in record)
    return (user_id, record) if readable else None
