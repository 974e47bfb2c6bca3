"""Every use of what Tornado does not document: what it is worth, and what is done without it.

`setup.cfg` allows the versions that the tests have seen; figures are of `docs/performance.md`.
"""

import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

import tornado.util
from tornado import version
from tornado.concurrent import Future
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

Mask = Callable[[bytes, bytes], bytes]


def mask_in_python(mask: bytes, data: bytes) -> bytes:
    """Return the data with the four bytes of the mask laid over it; 10 to 40 times slower."""
    size = len(data)
    over = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(over)).to_bytes(size)


apply_mask: Mask = getattr(tornado.util, "_websocket_mask", mask_in_python)
"""Tornado's own, in C: 0.2 us for a frame of 239 bytes, 5 us for one of 64 KiB."""


def require_hooks() -> None:
    """Raise ImportError if this version of Tornado has another handshake than the one we know."""
    for owner, name in (
        (WebSocketHandler, "get_websocket_protocol"),
        (WebSocketProtocol13, "compute_accept_value"),
    ):
        if not hasattr(owner, name):
            raise ImportError(f"Tornado {version} has no {owner.__name__}.{name}: install 6.6")


def accept_value(key: str) -> str:
    """Return what answers the key of a handshake; see RFC 6455, 4.2.2."""
    return WebSocketProtocol13.compute_accept_value(key)


class Upgrade:
    """Ends Tornado's handshake, in place of the `WebSocketProtocol13` of a WebSocketHandler.

    That one awaits up to four reads for a frame and keeps five coroutines waiting for the next
    one. Without it and its stream a private message costs 86 us instead of 133, and an idle
    connection 7 to 11 KB instead of 19.
    """

    def __init__(self, opened: Callable[[IOStream], Awaitable[None]]) -> None:
        self._opened = opened

    def as_protocol(self) -> WebSocketProtocol:
        """Return this as what `WebSocketHandler.get` calls `accept_connection` of, and no more."""
        return cast(WebSocketProtocol, self)

    async def accept_connection(self, handler: WebSocketHandler) -> None:
        """Answer the handshake and hand the connection over; see RFC 6455, 4.2.2."""
        headers = handler.request.headers
        key = headers.get("Sec-WebSocket-Key")
        if not key or not headers.get("Host"):
            raise HTTPError(HTTPStatus.BAD_REQUEST)
        offered = headers.get("Sec-WebSocket-Protocol", "").replace(",", " ").split()
        if chosen := handler.select_subprotocol(offered):
            handler.set_header("Sec-WebSocket-Protocol", chosen)
        handler.clear_header("Content-Type")
        handler.set_status(HTTPStatus.SWITCHING_PROTOCOLS)
        handler.set_header("Upgrade", "websocket")
        handler.set_header("Connection", "Upgrade")
        handler.set_header("Sec-WebSocket-Accept", accept_value(key))
        # As where the handshake is answered without Tornado.
        handler.clear_header("Server")
        handler.clear_header("Date")
        answered = handler.finish()
        stream = handler.detach()
        if not answered.done():
            # So early only a peer that sends requests and reads no answers fills the buffer.
            stream.close()
            return
        try:
            await self._opened(stream)
        except BaseException:
            stream.close()
            raise


def forget_request(handler: WebSocketHandler) -> None:
    """Drop the request and what Tornado has for answering it, once the connection is ours.

    Nothing of Tornado looks at the handler from then on; what stays is in slots. An idle connection
    holds 1.7 KB of Python objects, 8.5 without this, 2.9 without the documented attributes alone.
    """
    handler.__dict__.clear()


def stream_of(connection: object) -> IOStream | None:
    """Return the stream of an HTTP connection, of one request or of all that come on it.

    Without it a caller who has shown a token would go on counting as one who has not.
    """
    stream = getattr(connection, "stream", None)
    return stream if isinstance(stream, IOStream) else None


class _NoSocket:
    """What a stream has in place of the socket that was taken from it."""

    def fileno(self) -> int:
        """Return what is no descriptor."""
        return -1

    def close(self) -> None:
        """Do nothing."""


def take_socket(stream: IOStream) -> tuple[socket.socket | None, bytes]:
    """Return the socket of a stream, and what it has read ahead; None if it is closed.

    A stream has no way to let go of its socket, but for `start_tls`, which does the same. Nothing
    may wait to be written.
    """
    if stream.closed():
        return None, b""
    reading = cast("Future[bytes]", stream.read_bytes(stream.max_buffer_size, partial=True))
    ahead = reading.result() if reading.done() and not reading.exception() else b""
    reading.add_done_callback(lambda future: future.exception())  # it is closed under it
    if stream.closed():
        return None, ahead
    own = stream.socket
    IOLoop.current().remove_handler(own)
    stream.socket = cast(socket.socket, _NoSocket())
    stream.close()
    return own, ahead
