"""The id below which a user has confirmed all private messages, written for many users at once."""

from collections.abc import Sequence

from skyeim_ws.logic.watermarks import Mark
from skyeim_ws.store import scripts
from skyeim_ws.store.keys import (
    holders_key,
    missed_key,
    queue_key,
    session_key,
    watermark_key,
)
from skyeim_ws.store.offline import SLACK, RedisOfflineQueue
from skyeim_ws.store.pipeline import Pipeline


class RedisWatermarks:
    """`watermarks.WatermarkStore` for one node; a watermark lives as long as a queue."""

    def __init__(self, pipeline: Pipeline, queue: RedisOfflineQueue, node: str) -> None:
        self._pipeline = pipeline
        self._queue = queue
        self._node = node
        self._advance = scripts.read("ids", "life", "advance_watermark")

    async def advance(self, marks: Sequence[Mark]) -> list[int | None]:
        """Write the watermarks of users; return what each is now, None for one that has to wait."""
        answers = await self._pipeline.call_each(
            *(
                (
                    *("EVAL", self._advance, 5, session_key(user), queue_key(user)),
                    *(missed_key(user), holders_key(user), watermark_key(user)),
                    *(f"{self._node} {mark.conn_id}", mark.below, mark.bringing),
                    *(self._queue.ttl, self._queue.size, SLACK),
                )
                for mark in marks
                for user in (mark.user_id,)
            )
        )
        return [int(answer) if isinstance(answer, bytes) else None for answer in answers]
