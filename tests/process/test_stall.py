"""A gateway that stands still closes nobody when it goes on."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.process.conftest import CONFIG, running, skyeim, user

PONG_TIMEOUT = 2.0
STANDSTILL = 2 * PONG_TIMEOUT

SETTINGS = f"""
WebSocket: {{PingInterval: 1, PongTimeout: {PONG_TIMEOUT}}}
"""


@pytest.mark.gen_test
async def test_a_stopped_gateway_closes_nobody_when_it_goes_on(folder: Path) -> None:
    """Neither who has written meanwhile nor who had nothing to say or to answer."""
    (folder / "ws.yaml").write_text(CONFIG + SETTINGS)
    async with running(folder, *skyeim("demo")) as program:
        port = await program.port()
        async with user(port, 1001) as talker, user(port, 1002) as quiet:
            for each in (talker, quiet):
                await each.expect("connected")
            os.kill(program.process.pid, signal.SIGSTOP)
            try:
                await talker.send("chat", toUserId=1002, content="meanwhile")
                await asyncio.sleep(STANDSTILL)
            finally:
                os.kill(program.process.pid, signal.SIGCONT)
            await program.event("stalled")
            assert (await quiet.expect("chat"))["content"] == "meanwhile"
            # They live on as before: for longer than a silent client would.
            await asyncio.sleep(PONG_TIMEOUT)
            for each in (talker, quiet):
                await each.quiet()
            assert program.events("connection_closed") == []
