"""RFC 6455 frames: bytes to messages and back; pure, no IO."""

import struct
from collections.abc import Iterator
from enum import IntEnum

from tornado.util import _websocket_mask

from skyeim_ws.contract.codes import CloseCode

_FIN = 0x80
_RESERVED = 0x70
_MASKED = 0x80
_MAX_CONTROL_PAYLOAD = 125  # RFC 6455, 5.5
_MAX_CLOSE_REASON = _MAX_CONTROL_PAYLOAD - 2


class Opcode(IntEnum):
    """The frame types of RFC 6455, 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class ProtocolViolation(Exception):  # noqa: N818 - names what the peer did
    """The peer broke the protocol; the connection must be closed with `code`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def encode(opcode: Opcode, payload: bytes) -> bytes:
    """Return one final, unmasked frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        header = bytes((_FIN | opcode, size))
    elif size <= 0xFFFF:
        header = struct.pack("!BBH", _FIN | opcode, 126, size)
    else:
        header = struct.pack("!BBQ", _FIN | opcode, 127, size)
    return header + payload


def encode_close(code: int, reason: str) -> bytes:
    """Return a close frame; the reason is cut to what a control frame can carry."""
    text = reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore").encode()
    return encode(Opcode.CLOSE, struct.pack("!H", code) + text)


def decode_close(payload: bytes) -> tuple[int | None, str]:
    """Return code and reason of a close frame's payload.

    Raises ProtocolViolation for a payload that RFC 6455, 5.5.1 and 7.4 do not allow.
    """
    if not payload:
        return None, ""
    if len(payload) == 1:
        raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    # 1004 to 1006 and 1015 never travel; below 1000 and from 5000 on nothing is defined.
    if code < 1000 or code in (1004, 1005, 1006, 1015) or 1016 <= code < 3000 or code >= 5000:
        raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "close frame with an invalid code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolViolation(CloseCode.INVALID_PAYLOAD, "close reason is not UTF-8") from None


class FrameReader:
    """Cuts a client's byte stream into messages; holds at most one message and one read.

    A message larger than `max_message_size` bytes is refused when its header is seen, before
    its payload is held.
    """

    __slots__ = ("_buffer", "_fragments", "_max_message_size", "_opcode")

    def __init__(self, max_message_size: int) -> None:
        self._max_message_size = max_message_size
        self._buffer = b""
        # Payload so far, and type, of a message that comes in fragments.
        self._fragments: bytearray | None = None
        self._opcode = Opcode.TEXT

    def feed(self, data: bytes) -> Iterator[tuple[Opcode, bytes]]:
        """Yield the complete messages and control frames; unmasked, fragments joined.

        Raises ProtocolViolation after everything that came before the violation was yielded.
        """
        buffer = self._buffer + data if self._buffer else data
        position = 0
        try:
            while frame := self._next_frame(buffer, position):
                opcode, final, payload, position = frame
                if opcode >= Opcode.CLOSE:
                    yield opcode, payload
                elif message := self._join(opcode, final, payload):
                    yield message
        finally:
            # Also when the consumer stops early: what was yielded is not seen again.
            self._buffer = buffer[position:]

    def _next_frame(self, buffer: bytes, start: int) -> tuple[Opcode, bool, bytes, int] | None:
        """Return opcode, final flag, payload and end of the frame at `start`, if complete."""
        available = len(buffer) - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        opcode = self._check_header(first, second)
        size = second & 0x7F
        header_size = 2
        if size == 126:
            header_size = 4
        elif size == 127:
            header_size = 10
        if available < header_size + 4:
            return None
        if header_size > 2:
            size = int.from_bytes(buffer[start + 2 : start + header_size], "big")
        held = len(self._fragments) if self._fragments is not None else 0
        if size + held > self._max_message_size and opcode < Opcode.CLOSE:
            raise ProtocolViolation(
                CloseCode.MESSAGE_TOO_BIG, f"message over {self._max_message_size} bytes"
            )
        payload_start = start + header_size + 4
        end = payload_start + size
        if len(buffer) < end:
            return None
        mask = buffer[payload_start - 4 : payload_start]
        payload = _websocket_mask(mask, buffer[payload_start:end])
        return opcode, bool(first & _FIN), payload, end

    def _check_header(self, first: int, second: int) -> Opcode:
        """Return the opcode; raise what can be known to be wrong from the first two bytes."""
        if first & _RESERVED:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "reserved bit set")
        if not second & _MASKED:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "frame is not masked")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "unknown opcode") from None
        if opcode >= Opcode.CLOSE:
            if not first & _FIN or second & 0x7F > _MAX_CONTROL_PAYLOAD:
                raise ProtocolViolation(
                    CloseCode.PROTOCOL_ERROR, "control frame fragmented or too long"
                )
        elif opcode == Opcode.BINARY:
            raise ProtocolViolation(CloseCode.UNSUPPORTED_DATA, "only text frames are taken")
        elif (opcode == Opcode.CONTINUATION) != (self._fragments is not None):
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "fragments out of order")
        return opcode

    def _join(self, opcode: Opcode, final: bool, payload: bytes) -> tuple[Opcode, bytes] | None:
        """Return the message that this data frame completes, if it does."""
        if self._fragments is None:
            if final:
                return opcode, payload
            self._opcode, self._fragments = opcode, bytearray(payload)
            return None
        self._fragments += payload
        if not final:
            return None
        message = bytes(self._fragments)
        self._fragments = None
        return self._opcode, message
