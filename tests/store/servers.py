"""A real Redis that tests can kill, and ways to wait without sleeping for a guess."""

import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from redis.asyncio import Redis

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.contract.redis_client import open_server
from skyeim_ws.process import valkey
from skyeim_ws.store.pipeline import Pipeline

T = TypeVar("T")

DEADLINE = 20.0


class Server:
    """A Redis on a unix socket, with its data on disk."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self._command = valkey.command(valkey.find_server(), folder, self.socket)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE
        # A loop of its own: asyncio.run would take away the one that a test has set.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            while not runner.run(valkey.is_ready(self.socket)):
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.01)


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server of one's own, for tests that kill it."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as folder:
        server = Server(Path(folder))
        server.start()
        try:
            server.wait_ready()
            yield server
        finally:
            server.kill()


def client_at(path: Path, timeout: float = 2.0, **login: str) -> Redis:
    """Return a client of the server with that socket."""
    return open_server(RedisAddress(hosts=(str(path),), **login), timeout, timeout)  # type: ignore[arg-type]


@asynccontextmanager
async def connected(server: Server, timeout: float = 2.0) -> AsyncIterator[Redis]:
    """Open a client."""
    client = client_at(server.socket, timeout)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def pipelined(
    server: Server, *, buffer_size: int = 10_000, timeout: float = 5.0
) -> AsyncIterator[Pipeline]:
    """Open a client and start a pipeline over it."""
    async with connected(server) as client:
        pipeline = Pipeline(client, buffer_size=buffer_size, timeout=timeout)
        pipeline.start()
        try:
            yield pipeline
        finally:
            await pipeline.close(timeout)


async def until(condition: Callable[[], T]) -> T:
    """Wait until the condition is true, and return what it gave."""
    async with asyncio.timeout(DEADLINE):
        while not (value := condition()):  # noqa: ASYNC110 - nothing there to be an event
            await asyncio.sleep(0.005)
    return value


async def until_async(condition: Callable[[], Awaitable[T]]) -> T:
    """Wait until the awaited condition is true, and return what it gave."""
    async with asyncio.timeout(DEADLINE):
        while not (value := await condition()):  # noqa: ASYNC110 - the server has no event
            await asyncio.sleep(0.005)
    return value
