"""Keeps `group:seq:{gid}` in Redis up with the database, for the services that count there.

A worker writes what was noted meanwhile, one number per group, so that no send waits for Redis.
"""

import asyncio
from collections.abc import Mapping
from importlib import resources

import structlog
from redis.exceptions import RedisError, ResponseError

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.services.shared_redis import REDIS_DEADLINE, SharedRedis

GROUPS = 10_000
"""Groups that may wait; further ones are left out, and follow with their next message."""

BATCH = 500
"""Counters raised in one exchange with Redis."""

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0

_SCRIPT = resources.files(__package__).joinpath("lua", "raise_seq.lua").read_text("utf-8")

log = structlog.get_logger()


class SeqCounters:
    """The counters of all groups in one Redis, the caller's own. Construct it on the loop."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self._waiting: dict[str, int] = {}
        self._noted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._full = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def note(self, last_seqs: Mapping[str, int]) -> None:
        """Note that groups have reached at least these seqs; never waits."""
        for group_id, seq in last_seqs.items():
            if group_id in self._waiting or len(self._waiting) < GROUPS:
                self._waiting[group_id] = max(seq, self._waiting.get(group_id, 0))
            elif not self._full:
                self._full = True
                log.error("group_seqs_left_behind", cause="queue_full", waiting=GROUPS)
        self._idle.clear()
        self._noted.set()

    async def close(self, deadline: float) -> None:
        """Write what is noted, for at most `deadline` seconds, then stop."""
        try:
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        except TimeoutError:
            log.warning("group_seqs_left_behind", cause="closing", waiting=len(self._waiting))
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        pause, troubled = FIRST_PAUSE, False
        while True:
            await self._noted.wait()
            try:
                while self._waiting:
                    await self._raise_some()
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                if not troubled:
                    log.warning("group_seqs_delayed", error=type(error).__name__)
                troubled = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if troubled:
                log.info("group_seqs_flow_again")
            pause, troubled, self._full = FIRST_PAUSE, False, False
            self._noted.clear()
            self._idle.set()

    async def _raise_some(self) -> None:
        some = dict(list(self._waiting.items())[:BATCH])
        pipeline = self._redis.pipeline(transaction=False)
        for group_id, seq in some.items():
            pipeline.eval(_SCRIPT, 1, f"group:seq:{group_id}", str(seq))
        async with asyncio.timeout(REDIS_DEADLINE):
            results = await pipeline.execute(raise_on_error=False)
        for (group_id, seq), result in zip(some.items(), results, strict=True):
            if isinstance(result, ResponseError) and "WRONGTYPE" in str(result):
                log.error("group_seq_is_no_counter", group=group_id)
            elif isinstance(result, Exception):
                raise result
            # A larger one may have been noted during the exchange.
            if self._waiting.get(group_id) == seq:
                del self._waiting[group_id]
