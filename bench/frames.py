"""WebSocket frames as a client writes and reads them; pure, and no more than a load needs."""

import struct

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

_FIN = 0x80
_MASKED = 0x80
_MASK = bytes(4)
"""All zero: the server has the same work as with any other mask, and the load has none."""

Frame = tuple[int, bytes]
"""Opcode and payload."""


def header(opcode: int, size: int) -> bytes:
    """Return what stands before a masked payload of this size."""
    return _header(opcode, size, _MASKED) + _MASK


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame as a client sends it."""
    return header(opcode, len(payload)) + payload


def server_frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame as a server sends it."""
    return _header(opcode, len(payload), 0) + payload


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """Cut what a server has sent into frames; return them and the incomplete rest."""
    frames: list[Frame] = []
    while True:
        frame, data = split_one(data)
        if frame is None:
            return frames, data
        frames.append(frame)


def split_one(data: bytes) -> tuple[Frame | None, bytes]:
    """Return the first frame, if it is complete, and what stands behind it."""
    if len(data) < 2:
        return None, data
    size, start = data[1], 2
    if size >= 126:
        start = 4 if size == 126 else 10
        if len(data) < start:
            return None, data
        size = int.from_bytes(data[2:start], "big")
    end = start + size
    if len(data) < end:
        return None, data
    return (data[0] & 0x0F, data[start:end]), data[end:]


def _header(opcode: int, size: int, masked: int) -> bytes:
    first = _FIN | opcode
    if size < 126:
        return bytes((first, masked | size))
    if size <= 0xFFFF:
        return struct.pack("!BBH", first, masked | 126, size)
    return struct.pack("!BBQ", first, masked | 127, size)
