"""The WebSocket of one connection: Tornado's handshake and closing, our own reading and writing.

Tornado awaits up to four reads per frame and copies each frame that it writes; this protocol
parses all frames of one read together and writes what waits in one send.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import structlog
from tornado.concurrent import Future
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.websocket import WebSocketProtocol13, _WebSocketParams

from skyeim_ws.conn.codes import CloseCode
from skyeim_ws.conn.framing import (
    FrameReader,
    Opcode,
    ProtocolViolation,
    decode_close,
    encode_close,
)

log = structlog.get_logger()

_READ_BYTES = 65536


class WireHandler(Protocol):
    """What a connection does with what comes in; a WebSocketHandler."""

    close_timeout: float
    direct: Callable[[bytes], int] | None

    def on_message(self, message: str) -> None:
        """Take a text message."""

    def on_pong(self, data: bytes) -> None:
        """Take the answer to a ping."""

    def on_frame(self) -> None:
        """Note that the peer is alive; called once per read that brought a frame."""

    def disconnect(self, code: CloseCode, reason: str) -> None:
        """Close the connection because the peer or the handler failed."""

    def on_ws_connection_close(self, code: int | None, reason: str | None) -> None:
        """Note that the socket is closed."""


class Wire(WebSocketProtocol13):
    """The protocol of one upgraded connection; used on the IOLoop only."""

    handler: WireHandler  # type: ignore[assignment]
    stream: IOStream

    def __init__(self, handler: WireHandler, max_message_size: int) -> None:
        params = _WebSocketParams(ping_interval=0, max_message_size=max_message_size)
        super().__init__(handler, False, params)  # type: ignore[arg-type]

    def send(self, data: bytes) -> Future[None] | None:
        """Write frames; None if the kernel took them all, else a future to wait for.

        When nothing is buffered and no TLS is on, the socket is written directly: an IOStream
        costs almost twice the CPU time of the bare send for the same small frame. What the
        kernel does not take goes through the stream.

        Raises StreamClosedError when the connection is gone.
        """
        direct = self.handler.direct
        if direct is None:
            return self.buffer(data)
        try:
            sent = direct(data)
        except OSError:
            sent = 0  # full, or gone: the stream tries again, and knows which it is
        return None if sent == len(data) else self.buffer(memoryview(data)[sent:])

    def buffer(self, data: bytes | memoryview) -> Future[None] | None:
        """Write through the stream, and directly again once it has nothing left to write."""
        self.handler.direct = None
        future = self.stream.write(data)
        if future.done():
            self._buffered(future)
            return None
        future.add_done_callback(self._buffered)
        return future

    def _buffered(self, _: Future[None]) -> None:
        stream = self.stream
        over = self.server_terminated or stream.closed()
        if not (over or stream.writing() or isinstance(stream, SSLIOStream)):
            self.handler.direct = stream.socket.send

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send a close frame and give the peer `close_timeout` seconds to answer it."""
        if not self.server_terminated:
            self.server_terminated = True
            if not self.stream.closed():
                frame = encode_close(CloseCode.NORMAL if code is None else code, reason or "")
                try:
                    self.send(frame)
                except StreamClosedError:
                    self._abort()
            self.handler.direct = None
        if self.client_terminated:
            if self._waiting is not None:
                self.stream.io_loop.remove_timeout(self._waiting)
                self._waiting = None
            self.stream.close()
        elif self._waiting is None:
            self._waiting = self.stream.io_loop.call_later(self.handler.close_timeout, self._abort)

    async def _receive_frame_loop(self) -> None:
        """Read until the socket is closed; replaces Tornado's loop of the same name."""
        reader: FrameReader | None = FrameReader(self.params.max_message_size)
        stream = self.stream
        try:
            while not self.client_terminated:
                read = cast(Future[bytes], stream.read_bytes(_READ_BYTES, partial=True))
                if read.done():
                    # A peer that always has data waiting must not starve the others.
                    await asyncio.sleep(0)
                data = await read
                # After our close frame only the peer's own one matters, and after a protocol
                # violation not even that; yet reading goes on: closing a socket with unread
                # data resets it, and the peer would never see why.
                if reader is not None and not self._receive(reader, data):
                    reader = None
        except StreamClosedError:
            self._abort()
        finally:
            self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    def _receive(self, reader: FrameReader, data: bytes) -> bool:
        """Handle the frames of one read; return whether the stream can still be understood."""
        try:
            for opcode, payload in reader.feed(data):
                self.handler.on_frame()
                self._handle(opcode, payload)
                if self.client_terminated:
                    break
        except ProtocolViolation as violation:
            self.handler.disconnect(violation.code, violation.reason)
            return False
        except Exception:
            # A fault of ours must neither end the loop unseen nor leave the peer waiting.
            log.exception("message_handling_failed")
            self.handler.disconnect(CloseCode.INTERNAL_ERROR, "internal error")
        return True

    def _handle(self, opcode: Opcode, payload: bytes) -> None:
        if opcode == Opcode.TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                raise ProtocolViolation(
                    CloseCode.INVALID_PAYLOAD, "text frame is not UTF-8"
                ) from None
            if not self.server_terminated:
                self.handler.on_message(text)
        elif opcode == Opcode.PONG:
            self.handler.on_pong(payload)
        elif opcode == Opcode.PING:
            self._send_pong(payload)
        elif opcode == Opcode.CLOSE:
            self.close_code, self.close_reason = decode_close(payload)
            self.client_terminated = True
            # RFC 6455, 5.5.1: answer with the same code.
            self.close(self.close_code)
