"""A private message does not wait behind what a busy group has for a slow reader."""

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.waiting import until

CONTENT = "x" * 500
WINDOW = 20
RECEIVE_BUFFER = 4_096
AHEAD = 65_536
"""Bytes that may stand before an urgent message, those in the kernels included."""


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["private", "group"])
async def test_a_slow_reader_of_a_busy_group_gets_what_is_urgent_soon(
    make_world: MakeWorld, kind: str
) -> None:
    """And so the hint that it is behind: what it reads slowly is not megabytes."""
    async with make_world(rate_limit=0) as world:
        sender = await world.login(1001)
        async with raw_user(world, 1002, receive_buffer=RECEIVE_BUFFER) as reader:
            await reader.expect("connected")
            written = 0
            while not world.gateway.stats.group_frames_folded:
                for _ in range(WINDOW):
                    await sender.send("group_chat", groupId="g_demo", content=CONTENT)
                for _ in range(WINDOW):
                    await sender.expect("ack", status="sent")
                await until(lambda: not world.gateway.router.queued)
                written += WINDOW * len(CONTENT)
                assert written < 10 * AHEAD
            if kind == "private":
                await sender.chat(1002, "urgent")
                await reader.expect("chat", content="urgent")
            else:
                await reader.expect("group_behind", groupId="g_demo")
            assert reader.bytes_read < AHEAD
            assert world.gateway.stats.slow_consumers == 0
