"""A real Redis that tests can kill, and ways to wait without sleeping for a guess."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from redis.asyncio import Redis

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.contract.redis_client import open_server
from skyeim_ws.process import valkey
from skyeim_ws.store.pipeline import Pipeline
from tests.waiting import wait_for


class Server:
    """A Redis on a unix socket, with its data on disk."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.socket = folder / "s"
        self._folder = folder
        self._environment = dict(os.environ, **(environment or {}))
        # Else it forgets on a slow disk what it has taken lately, when a test kills it.
        durable = ("--appendfsync", "no")
        self._command = (*valkey.command(valkey.find_server(), folder, self.socket), *durable)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def written(self) -> int:
        """Return how long the file of its writes is."""
        return self._file().stat().st_size

    def forget(self, length: int) -> None:
        """Cut, while it is dead, what it has written since, as if the disk had been too slow."""
        os.truncate(self._file(), length)

    def _file(self) -> Path:
        [file] = self._folder.glob("appendonlydir/*.incr.aof")
        return file

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wait_ready(self) -> None:
        # A loop of its own: asyncio.run would take away the one that a test has set.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            wait_for(lambda: runner.run(valkey.is_ready(self.socket)), "Redis")


@contextmanager
def running_server(environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server of one's own, for tests that kill it."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as folder:
        server = Server(Path(folder), environment)
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
