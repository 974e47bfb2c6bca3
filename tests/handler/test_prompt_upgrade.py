"""A handshake that is read at once says what Tornado would find in it."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, parse_request_start_line

from skyeim_ws.handler.prompt_upgrade import read
from tests.long import examples

HEAD = (
    b"GET /ws?token=a.b&device=my%20phone HTTP/1.1\r\nHost: localhost:10300\r\n"
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

_TARGETS = (
    *(b"/ws", b"/ws?", b"/ws?token=", b"/ws?a=1&a=2", b"/ws?a=%ff", b"/ws?a=1;b=2", b"/ws?a=%zz"),
    *(b"/wsx", b"/", b"http://x/ws", b"/ws#a", b"/ws?a b", b"/ws?\xff"),
)
_LINES = (
    *(b"Host: x", b"host:y", b"Host:", b"Host: a b", b"Host: [::1]", b"Upgrade: websocket"),
    *(b"X-A:\t 1 \t", b"X-A: 2", b" X-B: 1", b"X_C: 1", b"X-D: \xff", b"X-E: \x01", b"no colon"),
    *(b"Content-Length: 2", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"X-F:"),
)
targets = st.sampled_from(_TARGETS) | st.binary(max_size=8).map(lambda junk: b"/ws?" + junk)
lines = st.lists(st.sampled_from(_LINES) | st.binary(max_size=12), max_size=5)
ends = st.sampled_from([b"\r\n\r\n", b"\r\n\r\n\x81\x80more", b"\r\n", b"\n\n"])
heads = st.builds(
    lambda target, rest, end: b"\r\n".join([b"GET " + target + b" HTTP/1.1", *rest]) + end,
    targets,
    lines,
    ends,
)


@settings(max_examples=examples(500))
@given(heads)
@example(HEAD)
@example(HEAD + b"\x81\x80\0\0\0\0")
@example(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
def test_what_is_read_is_what_tornado_finds(data: bytes) -> None:
    handshake = read(data)
    if handshake is None:
        return
    head, rest = data[: handshake.size], data[handshake.size :]
    assert head.endswith(b"\r\n\r\n")
    assert head + rest == data
    first, _, fields = head.decode("latin-1").partition("\r\n")
    request = HTTPServerRequest(
        start_line=parse_request_start_line(first), headers=HTTPHeaders.parse(fields)
    )
    found = (handshake.method, handshake.path, handshake.version)
    assert found == (request.method, request.path, request.version)
    assert handshake.query_arguments == request.query_arguments
    assert dict(handshake.headers) == {
        name.lower(): value for name, value in request.headers.items()
    }
    for name in request.headers:
        assert handshake.headers.get(name) == request.headers[name]
        assert name in handshake.headers


def test_the_usual_form_is_read() -> None:
    handshake = read(HEAD + b"\x81\x80\0\0\0\0")
    assert handshake is not None
    assert handshake.size == len(HEAD)
    assert handshake.query_arguments == {"token": [b"a.b"], "device": [b"my phone"]}


def test_what_is_no_whole_handshake_or_brings_a_body_is_left_to_tornado() -> None:
    for data in (
        *(b"", HEAD[:-1], HEAD.replace(b"GET", b"POST"), HEAD.replace(b"/ws", b"/health")),
        HEAD.replace(b"Host", b"Content-Length: 1\r\nHost"),
        HEAD.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
        HEAD.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        HEAD.replace(b"Host", b"Upgrade: h2c\r\nHost"),
        HEAD.replace(b"Host: localhost:10300\r\n", b""),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        assert read(data) is None, data
