"""One Redis that takes writes, and whether its replicas keep up with it."""

from collections.abc import Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

log = structlog.get_logger()

Command = tuple[str | bytes | int, ...]
"""A Redis command: its name and arguments."""

REPLICATION_MS = 500
"""How long a write waits for one replica to have it."""

LAG_MS = 20
"""How long it waits once no replica has kept up, so that a set without any is not slow for good."""


class Shard:
    """Sends commands to one Redis; `replicated` says that a replica may take its place one day.

    Redis answers a write before its replicas have it, and a failover would lose it. So a durable
    write to a replicated Redis counts as taken when a replica has it too; while none keeps up it
    counts at once, and a warning says so.
    """

    def __init__(self, redis: Redis, *, replicated: bool) -> None:
        self.redis = redis
        self._replicated = replicated
        self._lagging = False

    async def send(self, commands: Sequence[Command], *, durable: bool) -> list[Any]:
        """Send in one write; return the answers, an exception for each command that was refused.

        Raises whatever the connection raises; then any part of it may have been taken.
        """
        wait = durable and self._replicated
        async with self.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            if wait:
                pipe.execute_command("WAIT", 1, LAG_MS if self._lagging else REPLICATION_MS)
            answers = await pipe.execute(raise_on_error=False)
        if wait:
            self._replicated_to(answers.pop())
        return answers

    async def aclose(self) -> None:
        """Close the connections."""
        await self.redis.aclose()

    def _replicated_to(self, replicas: int | Exception) -> None:
        if isinstance(replicas, Exception):
            # It became a replica while we waited, and may forget the write.
            raise RedisConnectionError("no master any more") from replicas
        if replicas == 0 and not self._lagging:
            log.warning("redis_replicas_lag")
        elif replicas > 0 and self._lagging:
            log.info("redis_replicas_keep_up")
        self._lagging = replicas == 0
