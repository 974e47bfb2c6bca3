"""The counters of the Message service, `group:seq:{gid}`: read here, and never written."""

from collections.abc import Sequence

from skyeim_ws.store.pipeline import Pipeline

_DIGITS = 18
"""What has more is no count of messages, and fits into no frame: somebody has set it by hand."""


class RedisCounters:
    """`group_channels.SeqCounters`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def newest(self, group_ids: Sequence[str]) -> dict[str, int]:
        """Return the counters of those groups that have one."""
        found = await self._pipeline.call_each(
            *(("GET", f"group:seq:{group_id}") for group_id in group_ids)
        )
        return {
            group_id: int(count)
            for group_id, count in zip(group_ids, found, strict=True)
            if isinstance(count, bytes) and count.isdigit() and len(count) <= _DIGITS
        }
