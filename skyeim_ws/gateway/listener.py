"""Accepts connections, with as many descriptors as there are."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from tornado.concurrent import Future
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, UnsatisfiableReadError
from tornado.netutil import bind_sockets

from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.tls import TlsSocket
from skyeim_ws.contract.texts import Phrase, Text
from skyeim_ws.handler.base import MAX_BODY_BYTES
from skyeim_ws.handler.http_application import MAX_HEAD_BYTES

log = structlog.get_logger()

MAX_BUFFER_BYTES = MAX_BODY_BYTES + MAX_HEAD_BYTES

_AT_ONCE = 128
"""Connections accepted in one turn of the loop: those that are here must not wait for a crowd."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

_PIECE, _MOST_DROPPED = 65_536, 4_194_304
"""Bytes that are read at a time, and in all, of what follows a head that is too large."""

_TORNADO_REFUSES = b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""What Tornado writes, and closes, where there is no request that a handler could answer."""


def _refusal(status: HTTPStatus, phrase: Phrase) -> bytes:
    # In English: which language the caller reads stands in the head that nobody could read.
    body = msgspec.json.encode({"code": status, "message": str(phrase)})
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_TOO_LARGE = _refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, Text.HEAD_TOO_LARGE(most=MAX_HEAD_BYTES)
)
_MALFORMED = _refusal(HTTPStatus.BAD_REQUEST, Text.BAD_REQUEST())


def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Listen on all addresses of a host; `shared` with other processes. Raises OSError."""
    return bind_sockets(port, host_to_bind(host), reuse_port=shared)


def host_to_bind(host: str) -> str:
    """Return the host with which both families are bound where `::` is asked for.

    An IPv6 socket is bound for IPv6 alone, so there is one for each family: an empty host.
    """
    return "" if host == "::" else host


class _TellingStream(IOStream):
    """A stream that says in JSON why it closes when there is no request to be answered.

    Tornado says nothing where the head is too large, and no more than a status where it is no HTTP.
    """

    def write(self, data: bytes | memoryview) -> Future[None]:
        """Write."""
        return super().write(_MALFORMED if data == _TORNADO_REFUSES else data)

    def close(self, exc_info: Any = False) -> None:
        """Close, and answer first where a head is the reason."""
        # The line with the size of a chunk has a limit as well, but another one.
        limit = f"{MAX_HEAD_BYTES} bytes"
        too_large = isinstance(exc_info, UnsatisfiableReadError) and limit in str(exc_info)
        # It may be closed already: the peer is gone, and what it sent is still in the buffer.
        if too_large and not self.closed():
            with suppress(OSError):
                self.socket.send(_TOO_LARGE)
                # What was sent and not read would turn the end into a reset, which the answer
                # may not survive. As much as is here by now; a peer that sends as fast as this
                # reads must not hold up the others.
                for _ in range(_MOST_DROPPED // _PIECE):
                    if len(self.socket.recv(_PIECE)) < _PIECE:
                        break
        super().close(exc_info)


Take = Callable[[socket.socket, Any], None]
"""What serves a connection, given with the peer's address."""

Plain = Callable[[socket.socket, Any, Take], None]
"""The same without TLS; it may leave a connection to what comes with it, which makes a stream."""


class Listener:
    """One listening socket. Out of descriptors it pauses, with backoff, and goes on by itself.

    The socket stays readable all the while, so accepting would fail in each turn of the loop.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[IOStream, Any], None],
        stats: Stats,
        tls: ssl.SSLContext | None = None,
        *,
        plain: Plain | None = None,
    ) -> None:
        self._socket = listening
        self._serve = serve
        self._plain = plain
        self._stats = stats
        self.tls = tls
        self._loop = IOLoop.current()
        self._pause = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._accept_on()

    def close(self) -> None:
        """Accept those whom the kernel has let in already, then no more; safe to call again."""
        if self._closed:
            return
        if self._timer is None:
            self._readable(None, 0)
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        else:
            self._loop.remove_handler(self._socket)
        self._socket.close()

    def _accept_on(self) -> None:
        self._timer = None
        self._loop.add_handler(self._socket, self._readable, IOLoop.READ)

    def _readable(self, _: object, __: int) -> None:
        for _ in range(_AT_ONCE):
            if self._closed:
                return
            try:
                connection, address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest(error)
                    return
                continue  # the peer is gone, or its network: accept(2) says to go on
            if self._pause:
                self._pause = 0.0
                log.info("accept_resumed")
            self._take(connection, address)

    def _rest(self, error: OSError) -> None:
        if not self._pause:
            self._stats.accept_pauses += 1
            log.warning("accept_paused", error=error.strerror)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._loop.remove_handler(self._socket)
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._accept_on)

    def _take(self, connection: socket.socket, address: Any) -> None:
        if self.tls is None and self._plain is not None:
            connection.setblocking(False)
            self._plain(connection, address, self._take_stream)
        else:
            self._take_stream(connection, address)

    def _take_stream(self, connection: socket.socket, address: Any) -> None:
        try:
            stream = self._stream(connection)
        except OSError:  # gone again, as in a scan of ports; an SSLError is one
            connection.close()
            return
        try:
            self._serve(stream, address)
        except Exception:
            log.exception("connection_not_served")
            stream.close()

    def _stream(self, connection: socket.socket) -> IOStream:
        own = connection if self.tls is None else TlsSocket(connection, self.tls)
        return _TellingStream(own, max_buffer_size=MAX_BUFFER_BYTES)
