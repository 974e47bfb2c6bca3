"""Frames that are nearly right are told from right ones, by a model that reads no bytes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from skyeim_ws.conn.framing import FrameReader, Opcode, ProtocolViolation
from skyeim_ws.contract.codes import CloseCode
from tests.long import examples

LIMIT = 300
MASK = b"\x01\x02\x03\x04"
KNOWN = {int(opcode) for opcode in Opcode}
ANY_SIZE = 0
"""Take the shortest form of a length; else a field of this many bytes."""


@dataclass(frozen=True)
class Drawn:
    """A frame as a client means it, whatever the rules say."""

    opcode: int
    payload: bytes
    final: bool
    reserved: int
    masked: bool
    length_bytes: int

    @property
    def form(self) -> int:
        """The bytes of the length field besides the first."""
        shortest = 0 if len(self.payload) < 126 else 2 if len(self.payload) <= 0xFFFF else 8
        return max(shortest, self.length_bytes)

    def encode(self) -> bytes:
        """Return its bytes."""
        size = len(self.payload)
        first = (0x80 if self.final else 0) | self.reserved << 4 | self.opcode
        mark = 0x80 if self.masked else 0
        field = {0: size, 2: 126, 8: 127}[self.form]
        length = b"" if not self.form else struct.pack("!H" if self.form == 2 else "!Q", size)
        masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(self.payload))
        body = MASK + masked if self.masked else self.payload
        return bytes((first, mark | field)) + length + body

    def faults(self, held: int | None) -> set[CloseCode]:
        """Return the codes that may close a connection which holds so many bytes of fragments."""
        broken = [
            self.reserved,
            not self.masked,
            self.opcode not in KNOWN,
            self.form and len(self.payload) < 126,
            self.form == 8 and len(self.payload) <= 0xFFFF,
        ]
        found = {CloseCode.PROTOCOL_ERROR} if any(broken) else set()
        if self.opcode >= Opcode.CLOSE:
            if not self.final or self.form:
                found.add(CloseCode.PROTOCOL_ERROR)
            return found
        if self.opcode == Opcode.BINARY:
            found.add(CloseCode.UNSUPPORTED_DATA)
        if (self.opcode == Opcode.CONTINUATION) is (held is None):
            found.add(CloseCode.PROTOCOL_ERROR)
        if len(self.payload) + (held or 0) > LIMIT:
            found.add(CloseCode.MESSAGE_TOO_BIG)
        return found


def read_by_model(frames: list[Drawn]) -> tuple[list[tuple[int, bytes]], set[CloseCode]]:
    """Return what must be read, and the codes of which one must end it, if any."""
    read: list[tuple[int, bytes]] = []
    fragments: list[bytes] | None = None
    for frame in frames:
        held = None if fragments is None else sum(map(len, fragments))
        if faults := frame.faults(held):
            return read, faults
        if frame.opcode >= Opcode.CLOSE:
            read.append((frame.opcode, frame.payload))
        elif not frame.final:
            fragments = [*(fragments or []), frame.payload]
            read.append((Opcode.CONTINUATION, b""))
        else:
            read.append((Opcode.TEXT, b"".join([*(fragments or []), frame.payload])))
            fragments = None
    return read, set()


rarely = st.integers(0, 30).map(lambda number: number == 0)
small = st.binary(max_size=20)
drawn_frames = st.builds(
    Drawn,
    opcode=st.sampled_from([*KNOWN, 0x0, 0x0, 0x1, 0x1, 0x9]) | st.integers(0, 15),
    payload=rarely.flatmap(
        lambda odd: st.just(bytes(66_000)) if odd else small | st.integers(120, 140).map(bytes)
    ),
    final=st.booleans(),
    reserved=rarely.flatmap(lambda odd: st.integers(1, 7) if odd else st.just(0)),
    masked=rarely.map(lambda odd: not odd),
    length_bytes=rarely.flatmap(lambda odd: st.sampled_from([2, 8]) if odd else st.just(ANY_SIZE)),
)


def feed(reader: FrameReader, data: bytes, *, pauses: bool) -> Iterator[tuple[int, bytes]]:
    """Read what the data completes; with pauses, begin anew behind each frame."""
    if not pauses:
        yield from reader.feed(data)
        return
    reader.hold(data)
    while (frame := next(iter(reader.feed(b"")), None)) is not None:
        yield frame


@settings(max_examples=examples(300))
@given(
    frames=st.lists(drawn_frames, max_size=8),
    sizes=st.lists(st.integers(1, 40), max_size=20),
    tail=st.integers(0, 14),
    pauses=st.booleans(),
)
def test_frames_are_read_as_the_model_says(
    frames: list[Drawn], sizes: list[int], tail: int, *, pauses: bool
) -> None:
    """However they are cut into reads, and with the beginning of another one behind them."""
    expected, codes = read_by_model(frames)
    data = b"".join(frame.encode() for frame in frames)
    data += Drawn(Opcode.PING, b"more than the tail", True, 0, True, ANY_SIZE).encode()[:tail]
    reader = FrameReader(LIMIT)
    read: list[tuple[int, bytes]] = []
    code = None
    try:
        for size in sizes:
            read += feed(reader, data[:size], pauses=pauses)
            data = data[size:]
        read += feed(reader, data, pauses=pauses)
    except ProtocolViolation as violation:
        code = violation.code
    assert read == expected
    assert code in codes if codes else code is None
