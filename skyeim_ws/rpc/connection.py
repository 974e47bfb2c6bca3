"""One HTTP/2 connection to a server of gRPC, on the event loop."""

import asyncio
import socket
from collections.abc import Collection

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

Address = str | tuple[str, int]
"""The path of a unix socket, or an IP address and a port."""


class Connection(asyncio.BufferedProtocol):
    """Calls on a connection that `connect` has made; no other may begin when it is `closing`."""

    def __init__(self, max_body: int) -> None:
        self.fault: Http2Error | None = None
        """What the server has done against the protocol, which has ended the connection."""
        self._calls = Http2Calls(self._end, max_body)
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._greeted = asyncio.Event()

    @property
    def closing(self) -> bool:
        """Tell whether no call may begin any more."""
        return self._calls.closing

    @property
    def under_way(self) -> Collection[asyncio.Future[Reply]]:
        """Return the replies that have not come."""
        return self._replies.values()

    async def call(self, head: bytes, body: bytes, timeout: float) -> Reply | None:
        """Make a call that may take `timeout` seconds; None if it has no room now."""
        number = self._calls.begin(head, body)
        if number is None:
            return None
        self._write()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._replies[number] = future
        late = loop.call_later(timeout, self._give_up, number)
        try:
            return await future
        except asyncio.CancelledError:
            self._give_up(number)
            raise
        finally:
            late.cancel()

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
        try:
            self._calls.take(bytes(self._buffer[:size]))
        except Http2Error as error:
            self.fault = error
            self.close()
        else:
            self._write()
            if self._calls.greeted:
                self._greeted.set()
            if self.closing and not self._replies:
                self.close()

    def _write(self) -> None:
        if self._calls.output and self._transport is not None:
            self._transport.write(bytes(self._calls.output))
            self._calls.output.clear()

    def _end(self, number: int, reply: Reply) -> None:
        future = self._replies.pop(number)
        if not future.done():
            future.set_result(reply)

    def _give_up(self, number: int) -> None:
        """End a call for which nobody waits any more, or for which it is too late."""
        if number in self._replies:
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
