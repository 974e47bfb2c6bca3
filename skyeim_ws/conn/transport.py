"""The bytes of an upgraded connection: from and to its socket, or Tornado's stream where TLS is on.

Tornado keeps a stream, a task and a future for a connection that waits to be read, and resumes a
chain of coroutines for each read; a callback of the loop on the bare socket costs half the memory
and a third of the time.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from tornado.concurrent import Future
from tornado.iostream import IOStream, StreamClosedError

from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.tcp_info import Traffic, traffic
from skyeim_ws.conn.tornado_private import may_take_socket, take_socket

READ_BYTES = 16384
"""What is read at a time: a peer that always has data waiting must not starve the others."""

_UNSENT_BYTES = 16_384
"""What the kernel takes beyond what it has sent. Its buffer would hold megabytes for a slow reader,
minutes of them, and nothing overtakes what is in it."""


Source = IOStream | socket.socket
"""What is taken over after the upgrade: a stream of Tornado, or a bare socket."""


class TransportEvents(Protocol):
    """What a transport reports, on the loop and never from inside of a call."""

    def received(self, data: bytes) -> None:
        """Take what was read."""

    def taken(self) -> None:
        """Note that the peer takes what had to wait, or some of it."""

    def drained(self) -> None:
        """Note that all is written of which some had to wait."""

    def lost(self) -> None:
        """Note that the connection is gone."""


class Transport(Protocol):
    """Reads when it is told to; writes at once what the kernel takes, and keeps the rest."""

    traffic: Traffic | None
    """What has passed, once it is closed; None for a stream that was closed by the other side."""

    @property
    def direct(self) -> Callable[[bytes], int] | None:
        """The socket's own `send`, if it may be used while nothing waits to be written."""

    def start(self) -> None:
        """Begin to read."""

    def pause(self) -> None:
        """Read nothing until `resume`; what is being read already may still be reported."""

    def resume(self) -> None:
        """Read again."""

    def write(self, data: bytes | memoryview) -> bool:
        """Write, behind what waits; False if some of it has to wait, then `drained` follows.

        To a connection that is gone nothing is written: `lost` follows, or has been told.
        """

    def finish(self) -> None:
        """Tell the peer that nothing follows, and go on reading; nothing may wait."""

    def close(self) -> None:
        """Close at once; what waits is dropped."""


def adopt_socket(
    source: Source, events: TransportEvents, poller: Poller
) -> tuple[Transport, bytes]:
    """Return the transport of a connection after its upgrade, and what was read ahead."""
    if isinstance(source, socket.socket):
        _tune(source)
        return SocketTransport(source, events, poller), b""
    stream = source
    if stream.closed():
        return SocketTransport(None, events, poller), b""
    _tune(stream.socket)
    if not may_take_socket(stream):
        return StreamTransport(stream, events), b""
    try:
        own, ahead = take_socket(stream)
    except OSError:
        # Out of descriptors: on the stream a connection costs more, and is as good.
        return StreamTransport(stream, events), b""
    return SocketTransport(own, events, poller), ahead


def _tune(connection: socket.socket) -> None:
    """Have the kernel send small frames at once, and hold little."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


class SocketTransport:
    """A plain socket; None if it was gone before."""

    __slots__ = ("_events", "_poller", "_reading", "_socket", "_waiting", "traffic")

    def __init__(self, own: socket.socket | None, events: TransportEvents, poller: Poller) -> None:
        self._events = events
        self._poller = poller
        self._socket = own
        self.traffic: Traffic | None = None
        self._reading = False
        # What the kernel has not taken yet; None while there is nothing, as there seldom is.
        self._waiting: bytearray | None = None
        if own is not None:
            own.setblocking(False)

    @property
    def direct(self) -> Callable[[bytes], int] | None:
        """The socket's own `send`."""
        return None if self._socket is None else self._socket.send

    def start(self) -> None:
        """Begin to read."""
        if self._socket is None:
            self._poller.call_soon(self._events.lost)
        else:
            self.resume()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._reading = False
        self._watch()

    def resume(self) -> None:
        """Read again."""
        self._reading = True
        self._watch()

    def write(self, data: bytes | memoryview) -> bool:
        """Write, behind what waits; False if some of it has to wait."""
        if self._socket is None:
            return True
        if self._waiting is not None:
            self._waiting += data
            return False
        sent = self._send(self._socket, data)
        if sent is None or sent == len(data):
            return True
        self._waiting = bytearray(memoryview(data)[sent:])
        self._watch()
        return False

    def finish(self) -> None:
        """Shut the write side down."""
        if self._socket is not None:
            with suppress(OSError):  # gone: `lost` follows
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once."""
        own, self._socket = self._socket, None
        self._waiting = None
        if own is not None:
            self.traffic = traffic(own)
            self._poller.forget(own.fileno())
            own.close()

    def _send(self, own: socket.socket, data: bytes | bytearray | memoryview) -> int | None:
        """Return how much the kernel has taken; None if the connection is gone."""
        try:
            return own.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._lose()
            return None

    def _lose(self) -> None:
        self.close()
        # In a turn of its own: whoever writes to many must not find that one of them has left.
        self._poller.call_soon(self._events.lost)

    def _watch(self) -> None:
        if self._socket is not None:
            events = select.EPOLLIN if self._reading else 0
            if self._waiting is not None:
                events |= select.EPOLLOUT
            self._poller.watch(self._socket.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        # That the peer is gone is found out by whichever of the two is wanted.
        if events & ~select.EPOLLOUT and self._reading:
            self._readable()
        if events & ~select.EPOLLIN:
            self._writable()

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._events.received(data)
        else:
            self._lose()

    def _writable(self) -> None:
        if self._socket is None or self._waiting is None:
            return
        sent = self._send(self._socket, self._waiting)
        if not sent:
            return
        del self._waiting[:sent]
        self._events.taken()
        if not self._waiting:
            self._waiting = None
            self._watch()
            self._events.drained()


class StreamTransport:
    """A stream of Tornado, for TLS."""

    __slots__ = ("_events", "_reading", "_resumed", "_stream", "traffic")

    direct = None

    def __init__(self, stream: IOStream, events: TransportEvents) -> None:
        self._events = events
        self._stream = stream
        self.traffic: Traffic | None = None
        self._reading: asyncio.Task[None] | None = None
        self._resumed: asyncio.Event | None = None

    def start(self) -> None:
        """Begin to read."""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    def pause(self) -> None:
        """Read nothing until `resume`, but for what is being read."""
        if self._resumed is None:
            self._resumed = asyncio.Event()

    def resume(self) -> None:
        """Read again."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def write(self, data: bytes | memoryview) -> bool:
        """Write, behind what waits; False if some of it has to wait."""
        try:
            future = self._stream.write(data)
        except StreamClosedError:
            return True
        if future.done():
            return True
        future.add_done_callback(self._written)
        return False

    def finish(self) -> None:
        """Shut the write side of TCP down: TLS itself cannot end one side and read on."""
        if not self._stream.closed():
            with suppress(OSError):
                # Not by its own method: that would make a bare socket of it, and we read on.
                socket.socket.shutdown(self._stream.socket, socket.SHUT_WR)

    def close(self) -> None:
        """Close at once."""
        if not self._stream.closed():
            self.traffic = traffic(self._stream.socket)
        self._stream.close()
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            while True:
                if self._resumed is not None:
                    await self._resumed.wait()
                # The method returns a future, though its type says less.
                reading = cast("Future[bytes]", self._stream.read_bytes(READ_BYTES, partial=True))
                if reading.done():
                    await asyncio.sleep(0)
                self._events.received(await reading)
        except OSError:  # closed, or broken in the middle of a TLS record
            self._events.lost()

    def _written(self, future: "Future[None]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._events.taken()
            if not self._stream.writing():
                self._events.drained()
