"""HTTP/2 as unary calls of gRPC use it: bytes in, bytes out, without a socket.

Both sides are told to keep no table of headers, so that a block of headers means the same each
time, and what was decoded once is remembered.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import hpack
from grpc import StatusCode

MAX_FRAME = 16_384
"""Bytes of a frame's payload: the least that each side must take."""

_HEADER = struct.Struct("!BHBBI")
"""Of each frame: its size in two parts, kind, flags and stream."""

LAST_STREAM = 2**31 - 1
_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
REFILL = 2**29
"""Bytes of answers after which the server is told that they were taken."""
_REMEMBERED = 64
"""Blocks of headers; a server has a handful that it sends again and again."""

Headers = Mapping[str, str]


class Http2Error(Exception):
    """The server does not keep to the protocol, so the connection is of no use any more."""


_NONE: Headers = {}


class Reply(NamedTuple):
    """How a call has ended; `metadata` is what came behind the message."""

    code: StatusCode
    body: bytes = b""
    details: str = ""
    metadata: Headers = _NONE


# Plain numbers: a flag of `enum` takes a call of Python each time.
_DATA, _HEADERS, _, _RST_STREAM, _SETTINGS, _PUSH_PROMISE = range(6)
_PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(6, 10)

_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8
_PRIORITY = 0x20

_HEADER_TABLE_SIZE, _ENABLE_PUSH, _MAX_STREAMS, _INITIAL_WINDOW = range(1, 5)

_CODES: dict[str, StatusCode] = {str(code.value[0]): code for code in StatusCode}

_RESETS = {
    0x7: StatusCode.UNAVAILABLE,  # REFUSED_STREAM: nothing was done
    0x8: StatusCode.CANCELLED,
    0xB: StatusCode.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: StatusCode.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}
"""What the codes of RST_STREAM mean for a call; the others are INTERNAL."""

_HTTP_STATUSES = {
    "400": StatusCode.INTERNAL,
    "401": StatusCode.UNAUTHENTICATED,
    "403": StatusCode.PERMISSION_DENIED,
    "404": StatusCode.UNIMPLEMENTED,
    "429": StatusCode.UNAVAILABLE,
    "502": StatusCode.UNAVAILABLE,
    "503": StatusCode.UNAVAILABLE,
    "504": StatusCode.UNAVAILABLE,
}
"""What an answer without a status of gRPC means, such as a proxy gives; the others are UNKNOWN."""


class _Stream:
    """What has come of an answer."""

    __slots__ = ("body", "headers")

    def __init__(self) -> None:
        self.headers = _NONE
        # One frame is most often all of it; what has more grows in place, or each would copy all.
        self.body: bytes | bytearray = b""


class Http2Calls:
    """The calls on one connection.

    `done` is told the number and the reply of each call that has ended. `take` wants the bytes that
    the server has sent, in pieces of any size, and `output` collects what is to be sent. A call
    takes bytes of the body up to `max_body`.
    """

    def __init__(self, done: Callable[[int, Reply], None], max_body: int) -> None:
        settings = {
            _HEADER_TABLE_SIZE: 0,
            _ENABLE_PUSH: 0,
            _INITIAL_WINDOW: _WINDOW,
        }
        self.output = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._put(_SETTINGS, 0, 0, b"".join(struct.pack("!HI", *pair) for pair in settings.items()))
        self._put(_WINDOW_UPDATE, 0, 0, struct.pack("!I", _WINDOW - _FIRST_WINDOW))
        self.closing = False
        """Whether calls that are under way may end, and no other may begin."""
        self.greeted = False
        """Whether the server has said its first word, which is how it wants to be spoken to."""
        self._done = done
        self._max_body = max_body
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._held = b""
        self._max_streams = _WINDOW
        # How many bytes we may send: on the connection, and as one message.
        self._window = self._stream_window = _FIRST_WINDOW
        # How many have come since the server was last told that they were taken.
        self._taken = 0
        self._decoder = hpack.Decoder()
        self._decoder.max_allowed_table_size = self._decoder.header_table_size = 0
        self._decoded: dict[bytes, Headers] = {}
        # The stream, the flags and the beginning of headers that are not complete.
        self._open_headers: tuple[int, int, bytes] | None = None
        self._takers: dict[int, Callable[[int, int, bytes], None]] = {
            _DATA: self._take_data,
            _HEADERS: self._take_headers,
            _CONTINUATION: self._take_continuation,
            _RST_STREAM: self._take_reset,
            _SETTINGS: self._take_settings,
            _PUSH_PROMISE: self._take_promise,
            _PING: self._take_ping,
            _GOAWAY: self._take_goaway,
            _WINDOW_UPDATE: self._take_window,
        }
        """What is done with a frame of each kind, by its flags, stream and payload."""

    def __len__(self) -> int:
        return len(self._streams)

    def begin(self, head: bytes, body: bytes) -> int | None:
        """Put a call into the output; return its number, or None if it has no room now.

        `head` is the block of its headers, `body` the serialized request.
        """
        size = len(body) + 5
        if (
            self.closing
            or size > self._window
            or size > self._stream_window
            or len(self._streams) >= self._max_streams
            or len(head) > MAX_FRAME
        ):
            return None
        number = self._next
        self._next += 2
        self.closing = self._next > LAST_STREAM
        self._window -= size
        self._streams[number] = _Stream()
        self._put(_HEADERS, _END_HEADERS, number, head)
        message = b"\0%b%b" % ((size - 5).to_bytes(4, "big"), body)
        while len(message) > MAX_FRAME:
            self._put(_DATA, 0, number, message[:MAX_FRAME])
            message = message[MAX_FRAME:]
        self._put(_DATA, _END_STREAM, number, message)
        return number

    def cancel(self, number: int) -> None:
        """Give a call up; `done` is not told."""
        if self._streams.pop(number, None) is not None:
            self._put(_RST_STREAM, 0, number, struct.pack("!I", 0x8))

    def lose(self) -> None:
        """End all calls, since the connection is lost."""
        self.closing = True
        for number in list(self._streams):
            self._end(number, Reply(StatusCode.UNAVAILABLE, details="connection lost"))

    def take(self, data: bytes) -> None:
        """Read what the server has sent; raises Http2Error."""
        if self._held:
            data = self._held + data
        start, end = 0, len(data)
        while end - start >= 9:
            high, low, kind, flags, number = _HEADER.unpack_from(data, start)
            size = high << 16 | low
            if size > MAX_FRAME:
                raise Http2Error(f"a frame of {size} bytes")
            following = start + 9 + size
            if following > end:
                break
            if self._open_headers is not None and kind != _CONTINUATION:
                raise Http2Error("headers without their end")
            taker = self._takers.get(kind)
            if taker is not None:
                taker(flags, number & LAST_STREAM, data[start + 9 : following])
            start = following
        self._held = data[start:]

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._open_headers is None or self._open_headers[0] != number:
            raise Http2Error("a continuation of nothing")
        _, first_flags, block = self._open_headers
        if len(block) > MAX_FRAME:
            raise Http2Error("endless headers")
        self._take_headers(first_flags | flags & _END_HEADERS, number, block + payload)

    def _take_reset(self, _flags: int, number: int, payload: bytes) -> None:
        code = _RESETS.get(_number(payload), StatusCode.INTERNAL)
        self._end(number, Reply(code, details="reset by the server"))

    def _take_settings(self, flags: int, _number: int, payload: bytes) -> None:
        if flags & _ACK:
            return
        self.greeted = True
        if len(payload) % 6:
            raise Http2Error("settings cut off")
        for setting, value in struct.iter_unpack("!HI", payload):
            if setting == _MAX_STREAMS:
                self._max_streams = value
            elif setting == _INITIAL_WINDOW:
                self._stream_window = value
        self._put(_SETTINGS, _ACK, 0, b"")

    def _take_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise Http2Error("a promise that nobody has allowed")

    def _take_ping(self, flags: int, _number: int, payload: bytes) -> None:
        if not flags & _ACK:
            self._put(_PING, _ACK, 0, payload)

    def _take_goaway(self, _flags: int, _stream: int, payload: bytes) -> None:
        self.closing = True
        last = _number(payload[:4]) & LAST_STREAM
        for each in [each for each in self._streams if each > last]:
            self._end(each, Reply(StatusCode.UNAVAILABLE, details="the server goes away"))

    def _take_window(self, _flags: int, number: int, payload: bytes) -> None:
        # Of a stream's window we never use more than it has from the beginning.
        if number == 0:
            self._window += _number(payload) & LAST_STREAM

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._taken += len(payload)
        if self._taken >= REFILL:
            self._put(_WINDOW_UPDATE, 0, 0, struct.pack("!I", self._taken))
            self._taken = 0
        stream = self._streams.get(number)
        if stream is None:  # given up
            return
        if stream.body and isinstance(stream.body, bytes):
            stream.body = bytearray(stream.body)
        stream.body += _without_padding(payload) if flags & _PADDED else payload
        if len(stream.body) > self._max_body + 5:
            self.cancel(number)
            self._streams[number] = stream
            self._end(number, Reply(StatusCode.RESOURCE_EXHAUSTED, details="answer too large"))
        elif flags & _END_STREAM:
            self._end(number, Reply(StatusCode.INTERNAL, details="an answer without a status"))

    def _take_headers(self, flags: int, number: int, block: bytes) -> None:
        if flags & (_PADDED | _PRIORITY):
            block = _without_padding(block) if flags & _PADDED else block
            block = block[5:] if flags & _PRIORITY else block
        if not flags & _END_HEADERS:
            self._open_headers = number, flags & _END_STREAM, block
            return
        self._open_headers = None
        headers = self._decoded.get(block) or self._decode(block)
        stream = self._streams.get(number)
        if stream is None:
            return
        if flags & _END_STREAM:
            self._end(number, _reply(stream.headers, headers, stream.body))
        else:
            stream.headers = headers

    def _decode(self, block: bytes) -> Headers:
        try:
            decoded: Iterable[tuple[bytes, bytes]] = self._decoder.decode(block, raw=True)
        except hpack.HPACKError as error:
            raise Http2Error("headers that cannot be read") from error
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in decoded}
        if len(self._decoded) < _REMEMBERED and len(block) < 256:
            self._decoded[block] = found
        return found

    def _end(self, number: int, reply: Reply) -> None:
        if self._streams.pop(number, None) is not None:
            self._done(number, reply)

    def _put(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self.output += _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, number) + payload


def head(*pairs: tuple[str, str]) -> bytes:
    """Return headers as a block that means the same on every connection.

    What several blocks say, they say when they are put together.
    """
    # Literals that are never indexed, without the code of Huffman: the cheapest to make.
    return b"".join([b"\x10" + _string(name) + _string(value) for name, value in pairs])


def _string(text: str) -> bytes:
    data = text.encode("latin-1")
    size = len(data)
    return (bytes((size,)) if size < 127 else bytes(hpack.hpack.encode_integer(size, 7))) + data


def _reply(first: Headers, last: Headers, body: bytes | bytearray) -> Reply:
    """Return what an answer says; it may have headers at its end alone."""
    status = last.get("grpc-status")
    if status is None:
        http = (first or last).get(":status", "")
        code = _HTTP_STATUSES.get(http, StatusCode.UNKNOWN)
        return Reply(code, details=f"HTTP status {http}")
    code = _CODES.get(status, StatusCode.UNKNOWN)
    if code is not StatusCode.OK:
        return Reply(code, details=unquote(last.get("grpc-message", "")), metadata=last)
    if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
        return Reply(StatusCode.INTERNAL, details="an answer that is not one message")
    return Reply(code, bytes(body[5:]), metadata=last)


def _without_padding(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise Http2Error("more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _number(payload: bytes) -> int:
    if len(payload) != 4:
        raise Http2Error("a number cut off")
    return int.from_bytes(payload, "big")
