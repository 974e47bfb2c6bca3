"""One Redis that takes writes, and whether its replicas keep up with it."""

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, cast

import structlog
from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from skyeim_ws.store.read_only import is_demoted
from skyeim_ws.store.replies import Replies

log = structlog.get_logger()

Command = tuple[str | bytes | int, ...]
"""A Redis command: its name and arguments."""

Done = Callable[[list[Any] | Exception], None]
"""Is told the answers to a write, or why it is lost."""

# In C; the library's own packing takes ten times as long. The type stub knows one argument only.
_pack = cast(Callable[[Command], bytes], pack_command)

REPLICATION_MS = 500
"""How long a write waits for one replica to have it."""

LAG_MS = 20
"""How long it waits once no replica has kept up, or a set without any would be slow for ever."""


class Shard:
    """Sends commands to one Redis; `replicated` says that a replica may take its place one day.

    Its connection has no time-outs, since the caller has one for the whole. The library's pipeline
    sets one for the write and one for each answer; for a few small commands that costs more than
    everything else.

    Redis answers a write before its replicas have it, and a failover would lose it. So a durable
    write to a replicated Redis counts as taken when a replica has it too; while none keeps up it
    counts at once, and a warning says so.
    """

    def __init__(self, redis: Redis, *, replicated: bool) -> None:
        self.redis = redis
        self._replicated = replicated
        self._lagging = False
        self._demoted = False
        pool = redis.connection_pool
        self._connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection.socket_timeout = None
        self._replies: Replies | None = None
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        # Of the write under way: how many answers it will have, those that have come, who is told.
        self._due = 0
        self._answers: list[Any] = []
        self._done: Done | None = None
        # Until when what `begin` has begun may take. One timer for all: one that is set and
        # cancelled each time costs as much as the write.
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, commands: Sequence[Command], *, durable: bool) -> list[Any]:
        """Send in one write; return the answers, an exception for each command that was refused.

        Answers are as they come: bytes, numbers, lists of them.

        Raises whatever the connection raises; then any part of it may have been taken.
        """
        if not (durable and self._replicated):
            return await self._exchange(commands)
        patience = LAG_MS if self._lagging else REPLICATION_MS
        *answers, replicas = await self._exchange([*commands, ("WAIT", 1, patience)])
        self._replicated_to(replicas)
        return answers

    def begin(
        self, commands: Sequence[Command], done: Done, deadline: float, *, durable: bool
    ) -> bool:
        """Send as `send` does, in this very turn of the loop; False if that cannot be.

        `done` is called once, on the loop, never from inside, but not after `aclose`; at `deadline`
        at the latest, a time of the loop.
        """
        replies = self._replies
        if (
            replies is None
            or replies.fault is not None
            or self._demoted
            or (durable and self._replicated)
            or not commands
        ):
            return False
        self._write(replies, commands, done)
        self._deadline = deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look)
        return True

    async def aclose(self) -> None:
        """Close the connection; whoever made the client closes that."""
        if self._timer is not None:
            self._timer.cancel()
        await self._hang_up()

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:  # of calls that ask for nothing
            return []
        async with self._turn:
            try:
                if self._demoted:
                    # The address may lead to another server by now; this one would refuse for ever.
                    self._demoted = False
                    await self._hang_up()
                replies = self._replies or await self._connect()
                if replies.fault is not None:
                    raise replies.fault
                waiter: asyncio.Future[list[Any]] = self._loop.create_future()
                self._write(replies, commands, partial(_tell, waiter))
                return await waiter
            except BaseException:
                # Also when the caller has no time left: its answer would be taken for the next.
                await self._hang_up()
                raise

    def _write(self, replies: Replies, commands: Sequence[Command], done: Done) -> None:
        data = b"".join([_pack(command) for command in commands])
        self._due, self._answers, self._done = len(commands), [], done
        self._deadline = math.inf
        replies.write(data)

    async def _connect(self) -> Replies:
        await self._hang_up()  # of what `begin` has lost
        await self._connection.connect()  # type: ignore[no-untyped-call]
        self._replies = Replies(self._connection, self._heard, self._lost)
        return self._replies

    async def _hang_up(self) -> None:
        if self._replies is not None:
            self._replies.close()
            self._replies = None
        self._done = None
        await self._connection.disconnect(nowait=True)

    def _heard(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            if not isinstance(answer, ResponseError):
                raise answer
            self._demoted |= is_demoted(answer)
        self._answers.append(answer)
        if len(self._answers) == self._due and self._done is not None:
            done, self._done = self._done, None
            done(self._answers)

    def _look(self) -> None:
        """Give up what is too late: its answers would be taken for those of the next write."""
        self._timer = None
        if self._done is None or self._deadline == math.inf:
            return
        if monotonic() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
            return
        if self._replies is not None:
            self._replies.close()
        self._lost(TimeoutError())

    def _lost(self, fault: Exception) -> None:
        """Tell who waits; if nobody does, the next write is told."""
        if self._done is not None:
            done, self._done, self._replies = self._done, None, None
            done(fault)

    def _replicated_to(self, replicas: int | Exception) -> None:
        if isinstance(replicas, Exception):
            # It has become a replica while we waited, and may lose the write.
            raise RedisConnectionError("no master any more") from replicas
        if replicas == 0 and not self._lagging:
            log.warning("redis_replicas_lag")
        elif replicas > 0 and self._lagging:
            log.info("redis_replicas_keep_up")
        self._lagging = replicas == 0


def _tell(waiter: asyncio.Future[list[Any]], outcome: list[Any] | Exception) -> None:
    if waiter.done():
        return
    if isinstance(outcome, list):
        waiter.set_result(outcome)
    else:
        waiter.set_exception(outcome)
        waiter.exception()  # or it is logged, if who waits is cancelled just now
