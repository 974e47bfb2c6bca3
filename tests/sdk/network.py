"""A network between a client and a gateway that a test cuts, and lets go silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

_Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Network:
    """Forwards connections to a port, `target` or what it returns; each keeps its order."""

    def __init__(self, target: int | Callable[[], int]) -> None:
        self._target = target
        self._pairs: set[_Pair] = set()
        self._lost: set[asyncio.Task[None] | None] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._served: set[asyncio.Task[Any] | None] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.port = 0
        self.opened = 0

    def cut(self) -> None:
        """Break all connections, and refuse others until `mend`."""
        self._refusing = True
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()

    def freeze(self) -> None:
        """Forward nothing more, and close nothing."""
        self._flowing.clear()

    def mend(self) -> None:
        """Let everything flow again, what was frozen included."""
        self._refusing = False
        self._flowing.set()

    def lose(self) -> None:
        """Let what there is go silent for ever; other connections may come."""
        self._lost.update(self._tasks)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side ends it."""
        if self._refusing:
            writer.transport.abort()
            return
        self._served.add(asyncio.current_task())
        try:
            port = self._target if isinstance(self._target, int) else self._target()
            there, out = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        self.opened += 1
        pair = (writer, out)
        self._pairs.add(pair)
        ways = [
            asyncio.create_task(self._forward(reader, out)),
            asyncio.create_task(self._forward(there, writer)),
        ]
        self._tasks.update(ways)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pairs.discard(pair)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._tasks.difference_update(ways)
            for end in pair:
                end.transport.abort()

    async def close(self) -> None:
        """Break everything, and wait for the end of it."""
        self.cut()
        tasks = [task for task in self._served if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if asyncio.current_task() in self._lost:
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def network(target: int | Callable[[], int]) -> AsyncIterator[Network]:
    """Run a network in front of a port of this machine, or of one after the other."""
    between = Network(target)
    server = await asyncio.start_server(between.accept, "127.0.0.1", 0)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        await between.close()
