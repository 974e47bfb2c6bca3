"""What others must hear after a change is committed: stale member caches, then pushes.

The events are written in the transaction of the change (`outbox`); one task empties the outbox in
order, so that no RPC waits for Redis or a gateway, and nobody hears of a change whose cached
members are still the old ones. Of several processes on one database one at a time does so.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.services import outbox
from skyeim_ws.services.counters import SeqCounters
from skyeim_ws.services.db import Database, chunks
from skyeim_ws.services.outbox import Backlog, Push, Waiting
from skyeim_ws.services.pusher import Pusher, TryLaterError, kind
from skyeim_ws.services.shared_redis import REDIS_DEADLINE, SharedRedis, open_redis
from skyeim_ws.services.tables import unix_now

MANY = 1_000
"""Waiting events from which on the log tells of each doubling."""

POLL = 2.0
"""Seconds after which the outbox is looked at unasked: another process may have died over it."""

TURN = 4.0
"""Seconds after which a turn at the outbox ends, well before its transaction would."""

CLOSE_DEADLINE = 2.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0

log = structlog.get_logger()


class Events:
    """Tells Redis and a gateway what has changed; either may be None. Construct it on the loop.

    `push_cert` is the file with the gateway's certificate, for a `push_url` that begins with https.
    """

    def __init__(
        self,
        database: Database,
        redis: RedisAddress | None = None,
        push_url: str | None = None,
        secret: str | None = None,
        *,
        push_cert: str | None = None,
    ) -> None:
        self._database = database
        self._rows = 0
        self._told_rows = MANY
        # Events whose stale cache was deleted; their pushes still wait.
        self._forgotten: set[int] = set()
        self._troubled = False
        self._redis: SharedRedis | None = None
        self._counters: SeqCounters | None = None
        if redis is not None:
            self._redis = open_redis(redis)
            self._counters = SeqCounters(self._redis)
        self._pusher = Pusher(push_url, secret, push_cert) if push_url else None
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        if self._redis is not None or self._pusher is not None:
            # What an earlier process has left is told first.
            self._woken.set()
            self._task = asyncio.get_running_loop().create_task(self._drain())

    @property
    def waiting(self) -> int:
        """Return how many changes nobody was told of yet, as far as this process knows."""
        return self._rows

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction; what it notes is told once it is committed."""
        try:
            async with self._database.write() as connection:
                yield connection
        finally:
            # When it breaks off, its commit may have happened all the same.
            self._idle.clear()
            self._woken.set()

    async def note(self, connection: AsyncConnection, *pushes: Push, members_of: str = "") -> None:
        """Write the pushes of one change, in order, in its transaction, which `changing` began.

        `members_of` names the group whose cached members the change makes stale.
        """
        stale = members_of if self._redis is not None else ""
        wanted = pushes if self._pusher is not None else ()
        if wanted and self._rows >= outbox.LIMIT:
            log.warning("event_dropped", cause="outbox_full", pushes=[kind(p) for p in wanted])
            wanted = ()
        if stale and not wanted and self._rows >= 2 * outbox.LIMIT:
            log.error("member_cache_left_stale", group=stale, cause="outbox_full")
            return
        if wanted or stale:
            await outbox.add(connection, stale, wanted)
            self._rows += max(len(wanted), 1)

    def reached(self, last_seqs: Mapping[str, int]) -> None:
        """Note the seq, by group id, that groups have reached in the database; never waits.

        The counters in Redis follow; they are never lowered.
        """
        if self._counters is not None:
            self._counters.note(last_seqs)

    async def close(self) -> None:
        """Tell what can be told within 2 s, then stop; the rest waits for the next start."""
        if self._counters is not None:
            await self._counters.close(CLOSE_DEADLINE)
        if self._task is not None:
            try:
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await self._idle.wait()
            except TimeoutError:
                log.warning("events_wait_for_restart", waiting=self._rows)
            await cancel_and_wait(self._task)
            self._task = None
        if self._pusher is not None:
            self._pusher.close()
        if self._redis is not None:
            await self._redis.aclose()

    async def _drain(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._woken.wait()
            self._woken.clear()
            try:
                finished = await self._turn()
            except (TryLaterError, SQLAlchemyError, OSError) as error:  # so is TimeoutError
                known = isinstance(error, TryLaterError)
                self._note_trouble(str(error) if known else f"database: {type(error).__name__}")
            except Exception:
                log.exception("event_failed")
            else:
                if finished:
                    self._note_recovery()
                    if not self._woken.is_set():
                        self._idle.set()
                    pause = FIRST_PAUSE
                    continue
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._woken.set()

    async def _turn(self) -> bool:
        """Tell what waits, for some seconds; say whether nothing is left."""
        if not (await outbox.read(self._database)).events:
            self._rows = 0
            return True
        end = asyncio.get_running_loop().time() + TURN
        async with self._database.only_one("events") as alone:
            while alone and asyncio.get_running_loop().time() < end:
                backlog = await outbox.read(self._database)
                self._measure(backlog)
                if not backlog.events:
                    return True
                await self._forget_members(backlog.stale)
                for event in backlog.events:
                    if asyncio.get_running_loop().time() >= end:
                        break
                    await self._tell(event, end)
                else:
                    self._note_recovery()
        return False

    def _measure(self, backlog: Backlog) -> None:
        self._rows = backlog.rows
        self._forgotten &= backlog.stale.keys()
        if backlog.rows < MANY:
            self._told_rows = MANY
        elif backlog.rows >= self._told_rows:
            self._told_rows = 2 * backlog.rows
            age = unix_now() - backlog.events[0].created_at
            log.warning("events_pile_up", waiting=backlog.rows, oldest=age, limit=outbox.LIMIT)

    async def _forget_members(self, stale: Mapping[int, str]) -> None:
        """Delete all stale caches at once: those of later events are committed as well."""
        new = {each: stale[each] for each in stale.keys() - self._forgotten}
        if self._redis is None or not new:
            return
        try:
            async with asyncio.timeout(REDIS_DEADLINE):
                for groups in chunks(sorted(set(new.values()))):
                    await self._redis.delete(*(f"im:group:members:{each}" for each in groups))
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise TryLaterError(f"redis: {type(error).__name__}") from error
        self._forgotten |= new.keys()

    async def _tell(self, event: Waiting, end: float) -> None:
        """Push one event and remove it; of one to many users, remember who has it."""
        push = event.push
        if push is not None and self._pusher is not None:
            if unix_now() - event.created_at > outbox.LIFETIME:
                log.warning("event_dropped", cause="too_old", pushes=[kind(push)])
            elif "userIds" in push:
                await self._tell_users(self._pusher, event.id, dict(push), end)
                return
            else:
                await self._pusher.push(push)
        await self._remove(event.id)

    async def _tell_users(
        self, pusher: Pusher, event_id: int, push: dict[str, Any], end: float
    ) -> None:
        user_ids: list[int] = push.pop("userIds")
        told = 0
        try:
            for user_id in user_ids:
                if asyncio.get_running_loop().time() >= end:
                    return
                await pusher.push(push | {"userId": user_id})
                told += 1
        finally:
            if told == len(user_ids):
                await self._remove(event_id)
            elif told:
                await outbox.shorten(self._database, event_id, push | {"userIds": user_ids[told:]})

    async def _remove(self, event_id: int) -> None:
        await outbox.remove(self._database, event_id)
        # SQLite gives the id to another event.
        self._forgotten.discard(event_id)

    def _note_trouble(self, cause: str) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning("events_delayed", cause=cause, waiting=self._rows)

    def _note_recovery(self) -> None:
        if self._troubled:
            self._troubled = False
            log.info("events_flow_again")
