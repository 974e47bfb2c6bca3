"""One HTTP/2 connection to a server of gRPC, on the event loop."""

import asyncio
import math
import socket
from collections.abc import Callable
from time import monotonic

from grpc import StatusCode

from skyeim_ws.rpc.http2 import Http2Calls, Http2Error, Reply

CONNECT_TIMEOUT = 2.0
"""Seconds for an attempt to connect."""

_READ_BYTES = 65_536

_TCP_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # Milliseconds that what was sent may stay unconfirmed before the peer counts as dead.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5_000),
    # The kernel probes a silent peer: existing servers hang up on whoever does it by HTTP/2.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
)

Done = Callable[[Reply], None]

Address = str | tuple[str, int]
"""The path of a unix socket, or an IP address and a port."""


class Connection(asyncio.BufferedProtocol):
    """Calls on a connection that `connect` has made; no other may begin when it is `closing`."""

    def __init__(self, max_body: int) -> None:
        self.fault: Http2Error | None = None
        """What the server has done against the protocol, which has ended the connection."""
        self._calls = Http2Calls(self._end, max_body)
        # The deadline of each call, and who wants its reply.
        self._under_way: dict[int, tuple[float, Done]] = {}
        # One timer for all calls: one that is set and cancelled costs as much as the write.
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        # Made by who waits for the end of the calls under way.
        self._idle: asyncio.Event | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._greeted = asyncio.Event()

    @property
    def closing(self) -> bool:
        """Tell whether no call may begin any more."""
        return self._calls.closing

    @property
    def under_way(self) -> int:
        """Count the calls whose reply has not come."""
        return len(self._under_way)

    def begin(self, head: bytes, body: bytes, timeout: float, done: Done) -> int | None:
        """Begin a call that may take `timeout` seconds; return its number, None if it has no room.

        `done` is called once, on the loop, never from inside.
        """
        number = self._calls.begin(head, body)
        if number is None:
            return None
        self._write()
        deadline = monotonic() + timeout
        self._under_way[number] = deadline, done
        if deadline < self._looks_at:
            self._look_at(deadline)
        return number

    async def call(self, head: bytes, body: bytes, timeout: float) -> Reply | None:
        """Make a call that may take `timeout` seconds; None if it has no room now."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        number = self.begin(head, body, timeout, done)
        if number is None:
            return None
        try:
            return await future
        except asyncio.CancelledError:
            self._give_up(number)
            raise

    async def idle(self) -> None:
        """Wait for the end of the calls under way."""
        while self._under_way:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def greeted(self) -> None:
        """Wait for the first word of the server: that it accepts connections is its kernel's.

        Raises ConnectionError and Http2Error.
        """
        await self._greeted.wait()
        if self.fault is not None:
            raise self.fault
        if self.closing:
            raise ConnectionError("the server has hung up")

    def close(self) -> None:
        """Hang up; the calls under way end with UNAVAILABLE."""
        if self._transport is not None:
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        self._calls.lose()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what `connect` asks for
        self._transport = transport
        self._write()

    def connection_lost(self, _error: Exception | None) -> None:
        """End the calls under way."""
        self._transport = None
        self._calls.lose()
        self._greeted.set()

    def get_buffer(self, _size: int) -> memoryview:
        """Return where to put what comes."""
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        """Read what has come."""
        greeted = self._calls.greeted
        try:
            self._calls.take(bytes(self._buffer[:size]))
        except Http2Error as error:
            self.fault = error
            self.close()
        else:
            if self._calls.output:
                self._write()
            if not greeted and self._calls.greeted:
                self._greeted.set()
            if self._calls.closing and not self._under_way:
                self.close()

    def _write(self) -> None:
        if self._calls.output and self._transport is not None:
            self._transport.write(bytes(self._calls.output))
            self._calls.output.clear()

    def _end(self, number: int, reply: Reply) -> None:
        _, done = self._under_way.pop(number)
        if self._idle is not None and not self._under_way:
            self._idle.set()
        done(reply)

    def _look_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = time
        self._timer = asyncio.get_running_loop().call_at(time, self._look)

    def _look(self) -> None:
        """Give up the calls that are too late."""
        self._timer, self._looks_at = None, math.inf
        now = asyncio.get_running_loop().time()
        for number in [each for each, (end, _) in self._under_way.items() if end <= now]:
            self._give_up(number)
        if self._under_way:
            self._look_at(min(end for end, _ in self._under_way.values()))

    def _give_up(self, number: int) -> None:
        """End a call for which nobody waits any more, or for which it is too late."""
        if number in self._under_way:
            self._calls.cancel(number)
            self._write()
            self._end(number, Reply(StatusCode.DEADLINE_EXCEEDED))


async def connect(address: Address, max_body: int) -> Connection:
    """Connect to a server; raises OSError and Http2Error."""
    loop = asyncio.get_running_loop()

    def make() -> Connection:
        return Connection(max_body)

    async with asyncio.timeout(CONNECT_TIMEOUT):
        if isinstance(address, str):
            _, connection = await loop.create_unix_connection(make, address)
        else:
            transport, connection = await loop.create_connection(make, *address)
            for option in _TCP_OPTIONS:
                transport.get_extra_info("socket").setsockopt(*option)
        try:
            await connection.greeted()
        except BaseException:
            connection.close()
            raise
        return connection
