"""RFC 6455 frames: bytes to messages and back; pure, no IO."""

import struct
from collections.abc import Iterator
from enum import IntEnum

from skyeim_ws.conn.tornado_private import apply_mask
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Phrase, Text

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


# To make a member of its number takes two calls of Python.
_OPCODES = {opcode.value: opcode for opcode in Opcode}


class ProtocolViolation(Exception):  # noqa: N818 - names what the peer did
    """The peer broke the protocol; the connection must be closed with `code`."""

    def __init__(self, code: CloseCode, reason: Phrase) -> None:
        super().__init__(str(reason))
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
        raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.HALF_A_CLOSE_CODE())
    code = int.from_bytes(payload[:2], "big")
    # 1004 to 1006 and 1015 never travel; below 1000 and from 5000 on nothing is defined.
    if code < 1000 or code in (1004, 1005, 1006, 1015) or 1016 <= code < 3000 or code >= 5000:
        raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.INVALID_CLOSE_CODE())
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolViolation(CloseCode.INVALID_PAYLOAD, Text.CLOSE_REASON_NOT_UTF8()) from None


class FrameReader:
    """Cuts a client's byte stream into messages; holds at most one message and one read.

    A message larger than `max_message_size` bytes is refused when its header is seen, before
    its payload is held.
    """

    __slots__ = ("_fragments", "_held", "_max_message_size", "_opcode", "_wanted")

    def __init__(self, max_message_size: int) -> None:
        self._max_message_size = max_message_size
        # The beginning of a frame, and how much of it there must be before it is looked at again:
        # a large frame comes in many reads, and is neither parsed nor copied at each of them.
        self._held: bytearray | None = None
        self._wanted = 0
        # Payload so far, and type, of a message that comes in fragments.
        self._fragments: bytearray | None = None
        self._opcode = Opcode.TEXT

    def feed(self, data: bytes) -> Iterator[tuple[Opcode, bytes]]:
        """Yield the complete messages and control frames; unmasked, fragments joined.

        A fragment that does not end its message is yielded as an empty CONTINUATION: it is a frame
        all the same, to whoever counts them.

        Raises ProtocolViolation after everything that came before the violation was yielded.
        """
        held = self._held
        if held is not None:
            held += data
            if len(held) < self._wanted:
                return
            data, self._held = bytes(held), None
            self._wanted = 0
        position, size = 0, len(data)
        try:
            while position < size and (frame := self._next_frame(data, position)):
                opcode, final, payload, position = frame
                if opcode >= Opcode.CLOSE or (final and self._fragments is None):
                    yield opcode, payload
                else:
                    yield self._join(opcode, final, payload)
        finally:
            # Also when the consumer stops early: what was yielded is not seen again.
            if position < size:
                self._held = bytearray(memoryview(data)[position:])

    def hold(self, data: bytes) -> None:
        """Keep what was read, to be cut by the next `feed`."""
        if self._held is None:
            self._held, self._wanted = bytearray(), 0
        self._held += data

    def _next_frame(self, data: bytes, start: int) -> tuple[Opcode, bool, bytes, int] | None:
        """Return opcode, final flag, payload and end of the frame at `start`.

        If it is not complete, note how much of it is wanted and return None.
        """
        available = len(data) - start
        if available < 2:
            self._wanted = 2
            return None
        first, second = data[start], data[start + 1]
        opcode = self._check_header(first, second)
        size = second & 0x7F
        header_size = 6
        if size >= 126:
            header_size = 8 if size == 126 else 14
            if available < header_size - 4:
                self._wanted = header_size - 4
                return None
            size = _extended_size(data[start + 2 : start + header_size - 4])
        held = len(self._fragments) if self._fragments is not None else 0
        if size + held > self._max_message_size and opcode < Opcode.CLOSE:
            raise ProtocolViolation(
                CloseCode.MESSAGE_TOO_BIG, Text.MESSAGE_TOO_BIG(most=self._max_message_size)
            )
        if available < header_size + size:
            self._wanted = header_size + size
            return None
        payload_start = start + header_size
        end = payload_start + size
        payload = apply_mask(data[payload_start - 4 : payload_start], data[payload_start:end])
        return opcode, bool(first & _FIN), payload, end

    def _check_header(self, first: int, second: int) -> Opcode:
        """Return the opcode; raise what can be known to be wrong from the first two bytes."""
        if first & _RESERVED:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.RESERVED_BIT())
        if not second & _MASKED:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.NOT_MASKED())
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.UNKNOWN_OPCODE())
        if opcode >= Opcode.CLOSE:
            if not first & _FIN or second & 0x7F > _MAX_CONTROL_PAYLOAD:
                raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.BAD_CONTROL_FRAME())
        elif opcode == Opcode.BINARY:
            raise ProtocolViolation(CloseCode.UNSUPPORTED_DATA, Text.BINARY())
        elif (opcode == Opcode.CONTINUATION) != (self._fragments is not None):
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.FRAGMENTS_OUT_OF_ORDER())
        return opcode

    def _join(self, opcode: Opcode, final: bool, payload: bytes) -> tuple[Opcode, bytes]:
        """Return the message that this fragment completes, else an empty CONTINUATION."""
        if self._fragments is None:
            self._opcode, self._fragments = opcode, bytearray(payload)
            return Opcode.CONTINUATION, b""
        self._fragments += payload
        if not final:
            return Opcode.CONTINUATION, b""
        message = bytes(self._fragments)
        self._fragments = None
        return self._opcode, message


def _extended_size(field: bytes) -> int:
    """Return the length of a payload of 126 bytes or more; raise one that RFC 6455, 5.2 forbids."""
    size = int.from_bytes(field, "big")
    if size < 126 or (len(field) == 8 and size <= 0xFFFF):
        raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.LONG_LENGTH())
    if size >> 63:
        raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, Text.LENGTH_TOP_BIT())
    return size
