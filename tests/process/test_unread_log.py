"""Programs whose output nobody reads serve, and end when they are told to."""

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.conftest import hear, skyeim
from tests.waiting import DEADLINE


@contextmanager
def full_pipe() -> Iterator[int]:
    """Give the end to write to of a pipe that takes nothing more."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, os.sysconf("SC_PAGE_SIZE"))
        os.set_blocking(writer, False)
        while True:
            try:
                os.write(writer, b"x")
            except BlockingIOError:
                break
        os.set_blocking(writer, True)
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.gen_test
async def test_it_serves_and_ends(folder: Path) -> None:
    """The parent, the workers and our own services all write to this pipe."""
    with (folder / "ws.yaml").open("a") as config:
        config.write("Workers: 2\n")
    with (
        full_pipe() as unread,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor,
    ):
        supervisor.bind(str(folder / "notify"))
        supervisor.setblocking(False)
        program = await asyncio.create_subprocess_exec(
            *skyeim("serve"),
            cwd=folder,
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify")},
            stdout=unread,
            stderr=unread,
        )
        try:
            assert await hear(supervisor) == b"READY=1"
            program.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE):
                assert await program.wait() == 0
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
