"""A message is the work of one thread: to wake another one costs more than the work."""

import asyncio
import re
from pathlib import Path
from time import monotonic

import pytest

from tests.process.conftest import CONFIG, running, skyeim, user

MESSAGES = 50

WAKES = 5.0
"""Of other threads, for a lone message; 0 to 1.5 now, and 22 if its call were one of grpcio."""


def wakes(pid: int) -> int:
    """Count how often the threads of a process but its first have gone to sleep."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        if status.parent.name != str(pid):
            switches = re.search(r"^voluntary_ctxt_switches:\s(\d+)", status.read_text(), re.M)
            assert switches is not None
            found += int(switches[1])
    return found


@pytest.mark.gen_test
async def test_a_lone_message_wakes_no_other_thread_of_the_gateway(folder: Path) -> None:
    # Else the next `delivered` waits for half a second.
    (folder / "ws.yaml").write_text(f"{CONFIG}\nWebSocket: {{ConfirmInterval: 0.01}}\n")
    async with running(folder, *skyeim("demo")) as program:
        port, pid = await program.port(), program.process.pid
        async with user(port, 1001) as alice, user(port, 1002) as bob:

            async def exchange(count: int) -> None:
                for _ in range(count):
                    await alice.send("chat", toUserId=1002, content="hello")
                    await bob.expect("chat")
                    await alice.expect("ack", status="delivered")

            await exchange(5)
            # What threads of the library do by the clock is no part of a message.
            idle = wakes(pid)
            await asyncio.sleep(1)
            idle = wakes(pid) - idle
            before, began = wakes(pid), monotonic()
            await exchange(MESSAGES)
            more = wakes(pid) - before - idle * (monotonic() - began)
            assert more / MESSAGES <= WAKES
