"""One Redis that takes writes, and whether its replicas keep up with it."""

import asyncio
from collections.abc import Callable, Sequence
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
        self._turn = asyncio.Lock()
        # Of the write under way: how many answers it will have, and those that have come.
        self._due = 0
        self._answers: list[Any] = []
        self._answered: asyncio.Future[list[Any]] | None = None

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

    async def aclose(self) -> None:
        """Close the connection; whoever made the client closes that."""
        await self._hang_up()

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:  # of calls that ask for nothing
            return []
        async with self._turn:
            try:
                replies = self._replies or await self._connect()
                if replies.fault is not None:
                    raise replies.fault
                self._due, self._answers = len(commands), []
                waiter: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
                self._answered = waiter
                replies.write(b"".join([_pack(command) for command in commands]))
                answers = await waiter
                if self._demoted:
                    # The address may lead to another server by now; this one would refuse for ever.
                    self._demoted = False
                    await self._hang_up()
                return answers
            except BaseException:
                # Also when the caller has no time left: its answer would be taken for the next.
                await self._hang_up()
                raise

    async def _connect(self) -> Replies:
        await self._connection.connect()  # type: ignore[no-untyped-call]
        self._replies = Replies(self._connection, self._heard, self._lost)
        return self._replies

    async def _hang_up(self) -> None:
        if self._replies is not None:
            self._replies.close()
            self._replies = None
        await self._connection.disconnect(nowait=True)

    def _heard(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            if not isinstance(answer, ResponseError):
                raise answer
            self._demoted |= is_demoted(answer)
        self._answers.append(answer)
        waiter = self._answered
        if waiter is not None and len(self._answers) == self._due and not waiter.done():
            waiter.set_result(self._answers)

    def _lost(self, fault: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(fault)
            self._answered.exception()  # or it is logged, if who waits is cancelled just now

    def _replicated_to(self, replicas: int | Exception) -> None:
        if isinstance(replicas, Exception):
            # It has become a replica while we waited, and may lose the write.
            raise RedisConnectionError("no master any more") from replicas
        if replicas == 0 and not self._lagging:
            log.warning("redis_replicas_lag")
        elif replicas > 0 and self._lagging:
            log.info("redis_replicas_keep_up")
        self._lagging = replicas == 0
