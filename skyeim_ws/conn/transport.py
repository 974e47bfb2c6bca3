"""The bytes of an upgraded connection, from and to its socket, with TLS as without.

Tornado keeps a stream, a task and a future for a connection that waits to be read, and resumes a
chain of coroutines for each read; a callback of the poller on the socket itself costs half the
memory and a third of the time.
"""

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tornado.iostream import IOStream

from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.tcp_info import Traffic, is_open, traffic
from skyeim_ws.conn.tornado_private import take_socket

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


_NOT_NOW = (BlockingIOError, InterruptedError)


def adopt_socket(
    source: Source, events: TransportEvents, poller: Poller
) -> tuple["Transport", bytes]:
    """Return the transport of a connection after its upgrade, and what was read ahead."""
    own, ahead = (source, b"") if isinstance(source, socket.socket) else take_socket(source)
    return Transport(own, events, poller), ahead


class Transport:
    """Reads when it is told to; writes at once what the kernel takes, and keeps the rest.

    The socket is plain or a `TlsSocket`; None if it was gone before.
    """

    __slots__ = ("_events", "_poller", "_reading", "_socket", "_waiting", "traffic")

    def __init__(self, own: socket.socket | None, events: TransportEvents, poller: Poller) -> None:
        self._events = events
        self._poller = poller
        self._socket = own
        # What has passed, once it is closed.
        self.traffic: Traffic | None = None
        self._reading = False
        # What the kernel has not taken yet; None while there is nothing, as there seldom is.
        self._waiting: bytearray | None = None
        if own is not None:
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)

    @property
    def direct(self) -> Callable[[bytes], int] | None:
        """The socket's own `send`, which may be used while nothing waits to be written."""
        return None if self._socket is None else self._socket.send

    @property
    def gone(self) -> bool:
        """Whether the peer has closed, as one does that no longer waits for its handshake."""
        return self._socket is None or not is_open(self._socket)

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
        """Write, behind what waits; False if some of it has to wait, then `drained` follows.

        To a connection that is gone nothing is written: `lost` follows, or has been told.
        """
        if self._socket is None:
            return True
        if self._waiting is not None:
            self._waiting += data
            return False
        try:
            sent = self._socket.send(data)
        except _NOT_NOW:
            sent = 0
        except OSError:
            self._lose()
            return True
        if sent == len(data):
            return True
        self._waiting = bytearray(memoryview(data)[sent:])
        self._watch()
        return False

    def finish(self) -> None:
        """Tell the peer that nothing follows, and go on reading; nothing may wait."""
        if self._socket is not None:
            with suppress(OSError):  # gone: `lost` follows
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once; what waits is dropped."""
        own, self._socket = self._socket, None
        self._waiting = None
        if own is not None:
            self.traffic = traffic(own)
            self._poller.forget(own.fileno())
            own.close()

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
        except _NOT_NOW:
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
        try:
            sent = self._socket.send(self._waiting)
        except _NOT_NOW:
            return
        except OSError:
            self._lose()
            return
        del self._waiting[:sent]
        self._events.taken()
        if not self._waiting:
            self._waiting = None
            self._watch()
            self._events.drained()
