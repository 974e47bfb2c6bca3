"""HTTP/2 as calls of gRPC use it: what is sent, what each answer means, and any nonsense."""

import struct
from collections.abc import Iterator
from urllib.parse import quote

import hpack
import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.rpc import http2
from skyeim_ws.rpc.http2 import Http2Calls, Http2Error, Reply, head

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = 0, 1, 3, 4, 5, 6, 7
WINDOW_UPDATE, CONTINUATION = 8, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32
ACK = 1

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int = 0, number: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, number) + payload


def block(**headers: str) -> bytes:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(pairs)


def decoded(block: bytes) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in hpack.Decoder().decode(block)]


FIRST = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(":status", "200")])


def message(body: bytes) -> bytes:
    return b"\0" + struct.pack("!I", len(body)) + body


def answer(number: int, body: bytes, last: bytes | None = None) -> bytes:
    return (
        frame(HEADERS, END_HEADERS, number, FIRST)
        + frame(DATA, 0, number, message(body))
        + frame(HEADERS, END_HEADERS | END_STREAM, number, last or block(grpc_status="0"))
    )


def frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    while data:
        size = int.from_bytes(data[:3], "big")
        kind, flags, number = struct.unpack("!BBI", data[3:9])
        yield kind, flags, number, data[9 : 9 + size]
        data = data[9 + size :]


class Side:
    """Our side of a connection, and the calls that have ended."""

    def __init__(self, max_body: int = 1_000_000) -> None:
        self.ended: dict[int, Reply] = {}
        self.calls = Http2Calls(self.ended.__setitem__, max_body)
        self.said()

    def said(self) -> list[tuple[int, int, int, bytes]]:
        """Return what was sent since the last time."""
        data = bytes(self.calls.output).removeprefix(PREFACE)
        self.calls.output.clear()
        return list(frames(data))

    def begin(self, body: bytes = b"?") -> int:
        number = self.calls.begin(head((":path", "/m.M/Do")), body)
        assert number is not None
        return number


def test_a_call_says_its_headers_and_one_message() -> None:
    side = Side()
    assert side.begin(b"hello") == 1
    [headers, data] = side.said()
    assert headers[:3] == (HEADERS, END_HEADERS, 1)
    assert decoded(headers[3]) == [(":path", "/m.M/Do")]
    assert data == (DATA, END_STREAM, 1, b"\0\0\0\0\5hello")
    assert side.begin() == 3


def test_the_first_words_are_the_preface_and_settings() -> None:
    calls = Http2Calls(dict[int, Reply]().__setitem__, 1)
    assert calls.output.startswith(PREFACE)
    [settings, window] = frames(bytes(calls.output[len(PREFACE) :]))
    assert dict(struct.iter_unpack("!HI", settings[3])) == {1: 0, 2: 0, 4: 2**31 - 1}
    assert window == (WINDOW_UPDATE, 0, 0, struct.pack("!I", 2**31 - 1 - 65_535))


def test_long_headers_can_be_read() -> None:
    pairs = [("x-long", "y" * 300), ("grpc-timeout", "5000m")]
    assert decoded(head(*pairs)) == pairs


@given(st.binary(max_size=50), st.lists(st.integers(1, 20)))
def test_an_answer_is_read_in_pieces_of_any_size(body: bytes, sizes: list[int]) -> None:
    side = Side()
    side.begin()
    data = frame(SETTINGS) + answer(1, body)
    for size in [*sizes, len(data)]:
        side.calls.take(data[:size])
        data = data[size:]
    assert side.ended == {1: Reply(StatusCode.OK, body, metadata={"grpc-status": "0"})}
    assert len(side.calls) == 0


def test_answers_come_in_any_order() -> None:
    side = Side()
    first, second = side.begin(), side.begin()
    side.calls.take(answer(second, b"2") + answer(first, b"1"))
    assert {number: reply.body for number, reply in side.ended.items()} == {1: b"1", 3: b"2"}


def test_a_status_that_is_not_ok_comes_with_its_words() -> None:
    side = Side()
    side.begin()
    last = block(grpc_status="7", grpc_message=quote("not a friend, 不是好友"), reason="not_friend")
    side.calls.take(frame(HEADERS, END_HEADERS | END_STREAM, 1, last))
    reply = side.ended[1]
    assert (reply.code, reply.details) == (StatusCode.PERMISSION_DENIED, "not a friend, 不是好友")
    assert reply.metadata["reason"] == "not_friend"


@pytest.mark.parametrize(
    ("number", "code"),
    [("404", "UNIMPLEMENTED"), ("502", "UNAVAILABLE"), ("429", "UNAVAILABLE"), ("418", "UNKNOWN")],
)
def test_a_proxy_answers_without_a_status_of_grpc(number: str, code: str) -> None:
    side = Side()
    side.begin()
    first = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(":status", number)])
    side.calls.take(frame(HEADERS, END_HEADERS | END_STREAM, 1, first))
    assert side.ended[1].code is StatusCode[code]


@pytest.mark.parametrize(
    ("number", "code"),
    [(7, "UNAVAILABLE"), (8, "CANCELLED"), (11, "RESOURCE_EXHAUSTED"), (2, "INTERNAL")],
)
def test_a_reset_ends_a_call(number: int, code: str) -> None:
    side = Side()
    side.begin()
    side.calls.take(frame(RST_STREAM, 0, 1, struct.pack("!I", number)))
    assert side.ended[1].code is StatusCode[code]


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\2x", b"\1\0\0\0\1x", b"\0\0\0\0\1xy"])
def test_an_answer_that_is_not_one_message_is_a_fault_of_the_server(body: bytes) -> None:
    side = Side()
    side.begin()
    side.calls.take(
        frame(HEADERS, END_HEADERS, 1, FIRST)
        + frame(DATA, 0, 1, body)
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, block(grpc_status="0"))
    )
    assert side.ended[1].code is StatusCode.INTERNAL


def test_an_answer_that_ends_without_a_status_is_one_too() -> None:
    side = Side()
    side.begin()
    side.calls.take(frame(DATA, END_STREAM, 1, message(b"x")))
    assert side.ended[1].code is StatusCode.INTERNAL


def test_an_answer_that_is_too_large_is_refused() -> None:
    side = Side(max_body=10)
    side.begin()
    side.said()
    side.calls.take(frame(DATA, 0, 1, message(b"x" * 11)))
    assert side.ended[1].code is StatusCode.RESOURCE_EXHAUSTED
    assert side.said() == [(RST_STREAM, 0, 1, struct.pack("!I", 8))]


def test_a_call_that_was_given_up_is_never_answered() -> None:
    side = Side()
    side.calls.cancel(side.begin())
    assert side.said()[-1] == (RST_STREAM, 0, 1, struct.pack("!I", 8))
    side.calls.take(answer(1, b"late"))
    assert side.ended == {}


def test_the_server_that_goes_away_answers_what_it_has_taken() -> None:
    side = Side()
    first, second = side.begin(), side.begin()
    side.calls.take(frame(GOAWAY, 0, 0, struct.pack("!II", first, 0) + b"bye"))
    assert side.ended.keys() == {second}
    assert side.ended[second].code is StatusCode.UNAVAILABLE
    assert side.calls.closing
    assert side.calls.begin(b"", b"") is None
    side.calls.take(answer(first, b"1"))
    assert side.ended[first].body == b"1"


def test_a_lost_connection_ends_all_calls() -> None:
    side = Side()
    side.begin()
    side.calls.lose()
    assert side.ended[1].code is StatusCode.UNAVAILABLE
    assert side.calls.begin(b"", b"") is None


def test_no_more_is_sent_than_the_server_takes() -> None:
    side = Side()
    side.begin(b"x" * (65_535 - 5))
    assert side.calls.begin(b"", b"") is None
    # The window of a stream is not that of the connection.
    side.calls.take(frame(WINDOW_UPDATE, 0, 1, struct.pack("!I", 100)))
    assert side.calls.begin(b"", b"") is None
    side.calls.take(frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 200)))
    side.begin(b"x" * 195)
    side.calls.take(frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1_000)))
    side.calls.take(frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 50)))
    assert side.calls.begin(b"", b"x" * 46) is None
    side.begin(b"x" * 45)
    side.calls.take(frame(SETTINGS, 0, 0, struct.pack("!HI", 3, 3)))
    assert side.calls.begin(b"", b"") is None


def test_a_large_request_is_cut_into_frames() -> None:
    side = Side()
    side.begin(b"x" * 40_000)
    _, *data = side.said()
    assert [(flags, len(payload)) for _, flags, _, payload in data] == [
        (0, 16_384),
        (0, 16_384),
        (END_STREAM, 40_005 - 2 * 16_384),
    ]


def test_the_server_is_told_what_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "REFILL", 100)
    side = Side()
    side.begin()
    side.said()
    side.calls.take(frame(DATA, 0, 1, b"x" * 99))
    assert side.said() == []
    side.calls.take(frame(DATA, 0, 1, b"x"))
    assert side.said() == [(WINDOW_UPDATE, 0, 0, struct.pack("!I", 100))]


def test_the_numbers_of_calls_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "LAST_STREAM", 3)
    side = Side()
    assert [side.begin(), side.begin()] == [1, 3]
    assert side.calls.closing


def test_pings_and_settings_are_answered_and_what_is_unknown_is_not() -> None:
    side = Side()
    assert not side.calls.greeted
    side.calls.take(
        frame(PING, 0, 0, b"12345678")
        + frame(PING, ACK, 0, b"12345678")
        + frame(SETTINGS)
        + frame(SETTINGS, ACK)
        + frame(99, 7, 5, b"x")
    )
    assert side.said() == [(PING, ACK, 0, b"12345678"), (SETTINGS, ACK, 0, b"")]
    assert side.calls.greeted


def test_padding_priorities_and_continuations_are_read() -> None:
    side = Side()
    side.begin()
    last = block(grpc_status="0", x="y")
    side.calls.take(
        frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 1, b"\2" + b"prior" + FIRST + b"\0\0")
        + frame(DATA, PADDED, 1, b"\3" + message(b"x") + b"\0\0\0")
        + frame(HEADERS, END_STREAM, 1, last[:3])
        + frame(CONTINUATION, END_HEADERS, 1, last[3:])
    )
    assert side.ended[1].body == b"x"


@pytest.mark.parametrize(
    "data",
    [
        b"\0\x40\1" + bytes(6),  # a frame that is too long
        frame(PUSH_PROMISE, END_HEADERS, 1, FIRST),
        frame(CONTINUATION, END_HEADERS, 1, FIRST),
        frame(HEADERS, 0, 1, FIRST) + frame(PING, 0, 0, bytes(8)),
        frame(HEADERS, 0, 1, b"x" * 16_384)
        + frame(CONTINUATION, 0, 1, b"x")
        + frame(CONTINUATION, 0, 1, b"x"),
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff"),
        frame(HEADERS, END_HEADERS, 1, b"\xbe"),  # out of a table that we do not keep
        frame(DATA, PADDED, 1, b"\1"),
        frame(SETTINGS, 0, 0, b"x"),
        frame(WINDOW_UPDATE, 0, 0, b"x"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_who_breaks_the_protocol_is_of_no_use(data: bytes) -> None:
    side = Side()
    side.begin()
    with pytest.raises(Http2Error):
        side.calls.take(data)


@given(st.lists(st.binary(max_size=60)))
def test_nonsense_is_an_error_of_the_protocol_and_nothing_else(pieces: list[bytes]) -> None:
    side = Side()
    side.begin()
    try:
        for piece in pieces:
            side.calls.take(piece)
    except Http2Error:
        pass


@given(
    st.lists(
        st.builds(
            frame,
            st.integers(0, 12),
            st.integers(0, 255),
            st.sampled_from([0, 1, 3, 5, 2**31 - 1]),
            st.one_of(st.binary(max_size=20), st.just(FIRST), st.just(block(grpc_status="0"))),
        )
    )
)
def test_frames_in_any_order_end_each_call_at_most_once(sent: list[bytes]) -> None:
    ended: list[int] = []
    calls = Http2Calls(lambda number, _: ended.append(number), 1_000)
    for _ in range(3):
        calls.begin(head((":path", "/m.M/Do")), b"?")
    try:
        for each in sent:
            calls.take(each)
    except Http2Error:
        pass
    calls.lose()
    assert sorted(ended) == [1, 3, 5]
