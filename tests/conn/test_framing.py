"""Frames: whatever a client sends is cut into the same messages however it is chunked."""

import struct

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from skyeim_ws.conn.framing import (
    FrameReader,
    Opcode,
    ProtocolViolation,
    decode_close,
    encode,
    encode_close,
)
from skyeim_ws.conn.tornado_private import apply_mask
from skyeim_ws.contract.codes import CloseCode

# The sizes at which the length field changes its form.
PAYLOADS = st.binary(max_size=300) | st.integers(65530, 65540).map(lambda size: b"x" * size)

MASK = b"\x01\x02\x03\x04"


def client_frame(opcode: int, payload: bytes, *, final: bool = True, flags: int = 0) -> bytes:
    """Return a frame as a client sends it, masked."""
    first = (0x80 if final else 0) | flags | opcode
    size = len(payload)
    if size < 126:
        header = bytes((first, 0x80 | size))
    elif size <= 0xFFFF:
        header = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", first, 0x80 | 127, size)
    return header + MASK + apply_mask(MASK, payload)


def read_all(reader: FrameReader, data: bytes, sizes: list[int]) -> list[tuple[Opcode, bytes]]:
    messages: list[tuple[Opcode, bytes]] = []
    position = 0
    for size in sizes:
        messages += reader.feed(data[position : position + size])
        position += size
    messages += reader.feed(data[position:])
    return messages


class CountingReader(FrameReader):
    """Notes how often it looks for a frame."""

    def __init__(self, max_message_size: int) -> None:
        super().__init__(max_message_size)
        self.looks = 0

    def _next_frame(self, data: bytes, start: int) -> tuple[Opcode, bool, bytes, int] | None:
        self.looks += 1
        return super()._next_frame(data, start)


@given(
    payloads=st.lists(PAYLOADS, max_size=10),
    sizes=st.lists(st.integers(1, 100), max_size=30),
)
def test_messages_survive_any_chunking(payloads: list[bytes], sizes: list[int]) -> None:
    data = b"".join(client_frame(Opcode.TEXT, payload) for payload in payloads)
    expected = [(Opcode.TEXT, payload) for payload in payloads]
    assert read_all(FrameReader(70000), data, sizes) == expected


@given(
    parts=st.lists(st.binary(max_size=50), min_size=2, max_size=5),
    sizes=st.lists(st.integers(1, 20), max_size=10),
)
def test_fragments_are_joined_around_control_frames(parts: list[bytes], sizes: list[int]) -> None:
    data = client_frame(Opcode.TEXT, parts[0], final=False)
    for part in parts[1:-1]:
        data += client_frame(Opcode.CONTINUATION, part, final=False)
    data += client_frame(Opcode.PING, b"between")
    data += client_frame(Opcode.CONTINUATION, parts[-1])
    expected = [
        *[(Opcode.CONTINUATION, b"")] * (len(parts) - 1),
        (Opcode.PING, b"between"),
        (Opcode.TEXT, b"".join(parts)),
    ]
    assert read_all(FrameReader(1000), data, sizes) == expected


@pytest.mark.parametrize("size", [100, 1_000, 1_000_000])
def test_a_frame_is_looked_at_when_its_header_is_there_and_when_it_is(size: int) -> None:
    """However many reads it takes, so that a large one costs what its bytes cost."""
    data = client_frame(Opcode.TEXT, b"a" * size) + client_frame(Opcode.PING, b"next")
    reader = CountingReader(size)
    messages = read_all(reader, data, [1] * 20 + [50] * (size // 50 + 1))
    assert messages == [(Opcode.TEXT, b"a" * size), (Opcode.PING, b"next")]
    assert reader.looks <= 6


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01a", CloseCode.PROTOCOL_ERROR),  # not masked
        # RFC 6455, 5.2: the shortest form of a length, and less than 2**63.
        (b"\x81\xfe\x00\x7d", CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff" + bytes(7) + b"\x01", CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff\0\0\0\0\0\0\xff\xff", CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff\x80" + bytes(7), CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff\x7f" + b"\xff" * 7, CloseCode.MESSAGE_TOO_BIG),
        (client_frame(Opcode.TEXT, b"a", flags=0x40), CloseCode.PROTOCOL_ERROR),
        (client_frame(0x3, b"a"), CloseCode.PROTOCOL_ERROR),
        (client_frame(Opcode.PING, b"a", final=False), CloseCode.PROTOCOL_ERROR),
        (client_frame(Opcode.PING, b"a" * 126), CloseCode.PROTOCOL_ERROR),
        (client_frame(Opcode.CONTINUATION, b"a"), CloseCode.PROTOCOL_ERROR),
        (
            client_frame(Opcode.TEXT, b"a", final=False) + client_frame(Opcode.TEXT, b"b"),
            CloseCode.PROTOCOL_ERROR,
        ),
        (client_frame(Opcode.BINARY, b"a"), CloseCode.UNSUPPORTED_DATA),
        (client_frame(Opcode.TEXT, b"a" * 101), CloseCode.MESSAGE_TOO_BIG),
        (
            client_frame(Opcode.TEXT, b"a" * 60, final=False)
            + client_frame(Opcode.CONTINUATION, b"a" * 60),
            CloseCode.MESSAGE_TOO_BIG,
        ),
    ],
)
def test_a_violation_has_its_close_code(data: bytes, code: CloseCode) -> None:
    reader = FrameReader(100)
    with pytest.raises(ProtocolViolation) as caught:
        list(reader.feed(data))
    assert caught.value.code is code


def test_what_came_before_a_violation_is_seen() -> None:
    reader = FrameReader(100)
    messages = reader.feed(client_frame(Opcode.TEXT, b"good") + b"\xff\xff")
    assert next(messages) == (Opcode.TEXT, b"good")
    with pytest.raises(ProtocolViolation):
        next(messages)


def test_a_too_large_message_is_refused_before_its_payload_is_held() -> None:
    header = client_frame(Opcode.TEXT, b"a" * 1000)[:10]
    with pytest.raises(ProtocolViolation):
        list(FrameReader(100).feed(header))


@given(data=st.binary(max_size=200))
def test_any_bytes_give_messages_or_a_violation(data: bytes) -> None:
    reader = FrameReader(100)
    try:
        for opcode, payload in reader.feed(data):
            assert isinstance(opcode, Opcode)
            assert len(payload) <= 125
    except ProtocolViolation as violation:
        event(f"closed with {violation.code.name}")


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_encoded_frames_have_the_shortest_header(size: int) -> None:
    frame = encode(Opcode.TEXT, b"a" * size)
    header = 2 if size < 126 else 4 if size <= 0xFFFF else 10
    assert len(frame) == header + size
    assert frame[0] == 0x81


@given(code=st.sampled_from([1000, 1001, 3000, 4001, 4999]), reason=st.text(max_size=200))
def test_close_reason_fits_and_stays_utf8(code: int, reason: str) -> None:
    payload = encode_close(code, reason)[2:]
    assert len(payload) <= 125
    decoded_code, decoded_reason = decode_close(payload)
    assert decoded_code == code
    assert reason.startswith(decoded_reason)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_close_code_that_must_not_travel_is_a_violation(code: int) -> None:
    with pytest.raises(ProtocolViolation):
        decode_close(struct.pack("!H", code))


def test_a_close_frame_may_be_empty_but_not_half() -> None:
    assert decode_close(b"") == (None, "")
    with pytest.raises(ProtocolViolation):
        decode_close(b"\x03")
    with pytest.raises(ProtocolViolation) as caught:
        decode_close(struct.pack("!H", 1000) + b"\xff")
    assert caught.value.code is CloseCode.INVALID_PAYLOAD
