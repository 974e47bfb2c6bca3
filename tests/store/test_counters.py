"""Counters that another program writes are read with care."""

import pytest

from skyeim_ws.store.counters import RedisCounters
from tests.store.servers import Server, connected, pipelined


@pytest.mark.gen_test
async def test_what_is_no_count_of_messages_is_left_out(server: Server) -> None:
    counts = {"good": "12", "word": "many", "below": "-1", "vast": "9" * 30}
    async with connected(server) as redis, pipelined(server) as pipeline:
        for group_id, count in counts.items():
            await redis.set(f"group:seq:{group_id}", count)
        await redis.lpush("group:seq:list", "1")
        found = await RedisCounters(pipeline).newest([*counts, "list", "none"])
    assert found == {"good": 12}
