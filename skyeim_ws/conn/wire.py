"""The WebSocket of one connection, once it is upgraded: frames in and out, and its closing.

Tornado does the handshake; what a frame passes is ours, since Tornado awaits up to four reads
per frame and copies each frame that it writes.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from skyeim_ws.conn.framing import (
    FrameReader,
    Opcode,
    ProtocolViolation,
    decode_close,
    encode,
    encode_close,
)
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.tcp_info import Traffic
from skyeim_ws.conn.transport import Source, adopt_socket
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Phrase, Text

log = structlog.get_logger()


class WireHandler(Protocol):
    """What a connection does with what comes in."""

    close_timeout: float
    direct: Callable[[bytes], int] | None

    def on_message(self, message: str) -> None:
        """Take a text message."""

    def on_pong(self, data: bytes) -> None:
        """Take the answer to a ping."""

    def on_frame(self) -> None:
        """Note that the peer is alive; called once per frame, and when it takes what waited."""

    def count_frame(self) -> object:
        """Count a frame that is not a message; too many of them close the connection."""

    def on_drained(self) -> None:
        """Note that what had to wait is written."""

    def on_peer_close(self) -> None:
        """Write what is queued: the peer has closed, and our own close frame follows."""

    def disconnect(self, code: CloseCode, reason: Phrase) -> None:
        """Close the connection because the peer or the handler failed."""

    def on_closed(self, code: int | None) -> None:
        """Note that the socket is closed; `code` is of the peer's close frame, if one came."""


class Wire:
    """An upgraded connection; used on the IOLoop only."""

    __slots__ = (
        "_abort_timer",
        "_ahead",
        "_close_code",
        "_closed_by_peer",
        "_closed_by_us",
        "_ended",
        "_handler",
        "_paused",
        "_pong",
        "_reader",
        "_transport",
        "blocked",
    )

    def __init__(
        self, handler: WireHandler, source: Source, poller: Poller, max_message_size: int
    ) -> None:
        self._handler = handler
        self._reader: FrameReader | None = FrameReader(max_message_size)
        self._close_code: int | None = None
        self._closed_by_peer = False
        self._closed_by_us = False
        self._ended = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self.blocked = False
        """Whether something waits to be written; `on_drained` follows."""
        self._paused = False
        # The answer to the peer's last ping, while it has to wait: RFC 6455, 5.5.3 asks for no more
        # than one, and a peer that only pings would fill memory.
        self._pong: bytes | None = None
        self._transport, self._ahead = adopt_socket(source, self, poller)

    @property
    def direct(self) -> Callable[[bytes], int] | None:
        """The socket's own `send`, while it may be used in place of ours."""
        return None if self.blocked or self._closed_by_us else self._transport.direct

    @property
    def gone(self) -> bool:
        """Whether the peer has closed its side, though more than that may still be unread."""
        return self._transport.gone

    @property
    def traffic(self) -> Traffic | None:
        """What has passed, once it is closed and if the kernel has said so."""
        return self._transport.traffic

    def start(self) -> None:
        """Begin to read."""
        self._transport.start()
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            self.received(ahead)

    @property
    def paused(self) -> bool:
        """Whether nothing is read for now."""
        return self._paused

    def pause(self) -> None:
        """Read nothing, and look at nothing that was read, until `resume`."""
        if not self._paused and not self._closed_by_us:
            self._paused = True
            self._transport.pause()

    def resume(self) -> None:
        """Go on, in a turn of its own, with what was read and what comes."""
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._paused and not self._ended:
            self.received(b"")
            if not self._paused:
                self._transport.resume()

    def send(self, data: bytes | memoryview) -> None:
        """Write frames, behind what waits; nothing follows our close frame."""
        if not self._closed_by_us and not self._transport.write(data):
            self.blocked = True
            self._handler.direct = None

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send a close frame and give the peer `close_timeout` seconds to answer it."""
        self._handler.direct = None
        self.send(encode_close(CloseCode.NORMAL if code is None else code, reason or ""))
        self._closed_by_us = True
        self.resume()  # unread data would reset the connection, and the peer would not see why
        if code == CloseCode.FLOODING:
            self._reader = None  # not one more frame of it is looked at
        if self._closed_by_peer and not self.blocked:
            self._end()
        elif self._abort_timer is None:
            loop = asyncio.get_running_loop()
            self._abort_timer = loop.call_later(self._handler.close_timeout, self._end)

    # What the transport reports.

    def received(self, data: bytes) -> None:
        """Handle the frames of one read."""
        # Reading goes on after a violation or a flood, though nothing of it matters: closing a
        # socket with unread data resets it, and the peer would never see why.
        if self._reader is None:
            return
        if self._paused:
            self._reader.hold(data)
            return
        try:
            for opcode, payload in self._reader.feed(data):
                self._handler.on_frame()
                self._handle(opcode, payload)
                if self._closed_by_peer or self._reader is None or self._paused:
                    break
        except ProtocolViolation as violation:
            self._reader = None
            self._handler.disconnect(violation.code, violation.reason)
        except Exception:
            # A fault of ours must not leave the peer waiting.
            log.exception("message_handling_failed")
            self._handler.disconnect(CloseCode.INTERNAL_ERROR, Text.INTERNAL_ERROR())
        # An answer to our close frame will not be seen: the peer must not wait for the end.
        if self._reader is None and not self.blocked:
            self._transport.finish()

    def taken(self) -> None:
        """Note a sign of life: to a peer that is gone the kernel would write nothing."""
        self._handler.on_frame()

    def drained(self) -> None:
        """Go on with what had to wait."""
        self.blocked = False
        if self._closed_by_us:
            if self._closed_by_peer:
                self._end()
            elif self._reader is None:
                self._transport.finish()
            return
        pong, self._pong = self._pong, None
        if pong is not None:
            self.send(encode(Opcode.PONG, pong))
        if not self.blocked:
            self._handler.on_drained()

    def lost(self) -> None:
        """Note that the peer is gone."""
        self._end()

    def _handle(self, opcode: Opcode, payload: bytes) -> None:
        if opcode == Opcode.TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                raise ProtocolViolation(CloseCode.INVALID_PAYLOAD, Text.TEXT_NOT_UTF8()) from None
            self._handler.on_message(text)
        elif opcode == Opcode.PONG:
            self._handler.on_pong(payload)
        elif opcode == Opcode.CONTINUATION:
            self._handler.count_frame()
        elif opcode == Opcode.PING:
            self._handler.count_frame()
            if self.blocked:
                self._pong = payload
            else:
                self.send(encode(Opcode.PONG, payload))
        elif opcode == Opcode.CLOSE:
            self._close_code, _ = decode_close(payload)
            self._closed_by_peer = True
            self._handler.on_peer_close()
            # RFC 6455, 5.5.1: answer with the same code.
            self.close(self._close_code)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._handler.direct = None
        self._transport.close()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._handler.on_closed(self._close_code)
