"""The program as a process of its own: its output, its children, its users."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tornado.httpclient import HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from websockets.asyncio.client import connect

from skyeim_ws.handler import tokens
from tests.store.servers import Server, running_server
from tests.waiting import DEADLINE, until, until_async
from tests.world import SECRET, User

CONFIG = f"""
Name: process-test
Host: 127.0.0.1
Port: 0
Mode: test
Auth: {{AccessSecret: "{SECRET}"}}
Embedded: {{DataDir: data}}
Log: {{Encoding: json}}
Shutdown: {{WrapUpTime: 200ms, WaitTime: 2s}}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A working folder whose path is short enough for sockets, with a configuration in it."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as path:
        Path(path, "ws.yaml").write_text(CONFIG)
        yield Path(path)


@pytest.fixture
def server() -> Iterator[Server]:
    """An empty Redis that several gateways can share."""
    with running_server() as started:
        yield started


class Program:
    """A running command; its lines are kept, those of the log as what they hold."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.readers = [
            asyncio.create_task(_read(process.stdout, self.lines)),
            asyncio.create_task(_read(process.stderr, self.errors)),
        ]

    async def line(self, text: str) -> str:
        """Wait for a line with this text on stdout, and return it."""
        await self.until(lambda: any(text in line for line in self.lines))
        return next(line for line in self.lines if text in line)

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """Return what has been logged under this name with these fields."""
        entries = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [
            entry
            for entry in entries
            if entry["content"] == name and fields.items() <= entry.items()
        ]

    async def event(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Wait until this has been logged so often, and return the last one."""
        await self.until(lambda: len(self.events(name, **fields)) >= count)
        return self.events(name, **fields)[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition on the output; fail with the output where it never comes."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: condition() or self.readers[0].done(), DEADLINE)
        said = "\n".join(self.lines + self.errors)
        assert condition(), f"exit code {self.process.returncode}, said:\n{said}"

    async def port(self) -> int:
        """Wait until the gateway listens, and return its port."""
        port: int = (await self.event("gateway_listening"))["port"]
        return port

    async def child(self, name: str, count: int = 1) -> int:
        """Wait until the child has been started so often, and return its process id."""
        pid: int = (await self.event("child_started", count, child=name))["pid"]
        return pid

    def type(self, line: str) -> None:
        """Write a line to stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    async def exit_code(self) -> int:
        """Wait for the end."""
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


async def _read(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
    assert stream is not None
    while line := await stream.readline():
        lines.append(line.decode().rstrip("\n"))


@asynccontextmanager
async def running(
    folder: Path, *command: str, pass_fds: Sequence[int] = (), **environment: str
) -> AsyncIterator[Program]:
    """Run a command in a folder; killed on leaving, if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=os.environ | environment,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        pass_fds=pass_fds,
    )
    program = Program(process)
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.gather(*program.readers)


async def hear(supervisor: socket.socket) -> bytes:
    """Return what systemd is told next, but for how it goes, which is told again and again."""
    while (said := await asyncio.get_running_loop().sock_recv(supervisor, 200)).startswith(
        b"STATUS="
    ):
        pass
    return said


def skyeim(*arguments: str) -> tuple[str, ...]:
    """Return the command line of a command of ours, with the configuration of the folder."""
    return (sys.executable, "-m", "skyeim_ws", *arguments, "-f", "ws.yaml")


def token(user_id: int, secret: str = SECRET) -> str:
    """Return a token of the user."""
    return tokens.issue(secret, user_id, ttl=3600)


@asynccontextmanager
async def user(port: int, user_id: int, secret: str = SECRET) -> AsyncIterator[User]:
    """Connect a user, who has read nothing yet."""
    url = f"ws://127.0.0.1:{port}/ws?token={token(user_id, secret)}"
    async with connect(url, compression=None, ping_interval=None) as connection:
        yield User(user_id, connection)


async def offline(user: User) -> list[str]:
    """Read the opening frames, and return the contents of the offline window."""
    opening = await user.quiet()
    assert opening[0]["type"] == "connected"
    return [frame["data"]["content"] for frame in opening if frame["type"] == "chat"]


async def queued(folder: Path, user_id: int, count: int) -> None:
    """Wait until the offline queue has so many messages: Redis is written behind the answers."""
    async with Redis(unix_socket_path=str(folder / "data/run/valkey.sock")) as redis:

        async def full() -> bool:
            return int(await redis.llen(f"offline:private:{user_id}")) == count

        await until_async(full)


async def get(port: int, path: str, user_id: int) -> list[dict[str, Any]]:
    """Return the list that an HTTP call answers with."""
    client = SimpleAsyncHTTPClient(force_instance=True)
    try:
        url = f"http://127.0.0.1:{port}{path}"
        headers = {"Authorization": f"Bearer {token(user_id)}"}
        answer = await client.fetch(HTTPRequest(url, headers=headers, request_timeout=DEADLINE))
        found: list[dict[str, Any]] = json.loads(answer.body)["data"]["list"]
        return found
    finally:
        client.close()


def alive(pid: int) -> bool:
    """Tell whether the process runs; a zombie that nobody has reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def children(pid: int) -> list[int]:
    """Return the processes that the process has started and that are still there."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == str(pid):
                found.append(int(entry))
    return found


async def gone(*pids: int) -> None:
    """Wait until none of the processes is left."""
    await until(lambda: not any(map(alive, pids)), DEADLINE)
