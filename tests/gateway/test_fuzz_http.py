"""Whatever request comes in, its answer is no fault of ours, and it leaves nothing behind."""

import asyncio
import json
import logging
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tornado.ioloop import IOLoop

from tests.api.traffic import check_text
from tests.gateway.conftest import MakeWorld
from tests.gateway.test_fuzz import Errors, Served, json_texts
from tests.long import examples
from tests.waiting import until
from tests.world import PUSH_SECRET, World

AT_ONCE = 20
"""Requests of an example, each on a connection of its own: many of them wait for the time-out."""

HEADERS = {
    b"Host": b"localhost",
    b"Connection": b"Upgrade",
    b"Upgrade": b"websocket",
    b"Sec-WebSocket-Key": b"AAAAAAAAAAAAAAAAAAAAAA==",
    b"Sec-WebSocket-Version": b"13",
    b"Authorization": b"Bearer TOKEN",
    b"X-Skyeim-Push-Secret": PUSH_SECRET.encode(),
}
NAMES = (
    *(b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions", b"Origin", b"Accept-Language"),
    *(b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Expect", b"Cookie"),
    *(b"Access-Control-Request-Method", b"X-Forwarded-For", b"X-Real-IP", b"Sec-Fetch-Site"),
)
VALUES = (
    *(b"bearer, TOKEN", b"Bearer TOKEN", b"permessage-deflate", b"chunked", b"-1", b"9", b""),
    *(b"9" * 30, b"https://a.example", b"null", b"http://[::1", b"100-continue", b"close"),
    *(b"127.0.0.1, ::1", b"zh;q=0.5, en;q=nan", b"keep-alive, Upgrade", b"gzip, chunked"),
)
PATHS = (
    *(b"/ws", b"/ws?token=TOKEN", b"/ws?token=TOKEN&resume=0", b"/health", b"/", b"/web/app.js"),
    *(b"/api/push", b"/api/push/event", b"/message/offline", b"/message/read", b"/friend/list"),
    *(b"/message/group/sync?groupId=g_demo", b"/api/v1/message/group/read", b"/group/member/list"),
    *(b"/message/history?peerId=1002", b"/message/search?keyword=a", b"/message/conversations"),
    *(b"/nowhere", b"*", b"http://localhost/health", b"//", b"/../ws"),
)
ARGUMENTS = (b"groupId", b"peerId", b"seq", b"limit", b"skip", b"lastMsgId", b"page", b"device")
METHODS = (b"GET", b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"BREW")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/9.9")

junk = st.binary(max_size=20)
escaped = junk.map(lambda data: b"".join(b"%%%02x" % byte for byte in data))
texts = json_texts.map(lambda text: text.encode("utf-8", "surrogatepass")[:5_000])
pushes = st.builds(
    lambda kind, user, name, data: (
        b'{"type":%s,"userId":%s,"groupId":%s,"notificationType":%s,"eventType":%s,"data":%s,'
        b'"eventData":%s}' % (kind, user, user, name, name, data, data)
    ),
    st.sampled_from([b'"user"', b'"group"']) | texts,
    st.sampled_from([b"1001", b'"g_demo"']) | texts,
    st.just(b'"n"') | texts,
    texts | junk.map(lambda data: b'"' + data + b'"'),
)
reads = st.builds(lambda peer, ids: b'{"peerId":%s,"msgIds":%s}' % (peer, ids), texts, texts)


@st.composite
def near_requests(draw: st.DrawFn) -> bytes:
    """Draw a request whose every part may be wrong; TOKEN stands for a valid one."""
    method = draw(st.sampled_from(METHODS) | junk)
    path = draw(st.sampled_from(PATHS))
    if draw(st.booleans()):
        name, value = draw(st.sampled_from(ARGUMENTS)), draw(escaped | st.sampled_from([b"1", b""]))
        path += (b"&" if b"?" in path else b"?") + name + b"=" + value
    path += draw(st.just(b"") | st.just(b"") | junk)
    version = draw(st.sampled_from(VERSIONS) | junk)
    names = st.sampled_from([*HEADERS, *NAMES]) | junk
    more = draw(st.lists(st.tuples(names, st.sampled_from(VALUES) | junk), max_size=4))
    dropped = draw(st.sets(st.sampled_from(sorted(HEADERS)), max_size=3))
    kept = [(name, value) for name, value in HEADERS.items() if name not in dropped]
    body = draw(st.just(b"") | pushes | reads | texts | junk)
    if draw(st.booleans()):
        kept.append((b"Content-Length", b"%d" % len(body)))
    lines = [name + b": " + value for name, value in (*kept, *more)]
    head = b"\r\n".join([method + b" " + path + b" " + version, *lines])
    return head + draw(st.sampled_from([b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b""])) + body


async def _answer(chat: World, data: bytes) -> bytes:
    """Return what comes until the server ends the connection, be it by its time-out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", chat.port)
    try:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 101 "):
            return head  # a session, which nothing here would end
        return head + await reader.read()
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    except ConnectionError:
        return b""
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def _answers(chat: World, requests: list[bytes]) -> list[bytes]:
    return await asyncio.gather(*(_answer(chat, data) for data in requests))


async def _is_left(chat: World) -> None:
    """Let no connection be left, and serve whoever comes next."""
    running = chat.gateway
    stats = running.stats
    await until(lambda: stats.connections_opened == stats.connections_closed)
    assert len(running.hub) == 0
    # As many as fit are here at once: one that was left behind would have had another one dropped.
    assert stats.handshakes_dropped == 0
    alice, bob = await chat.login(1002), await chat.login(1003)
    await alice.chat(1003, "hello", msgId="afterwards")
    await bob.expect("chat", msgId="afterwards")
    health = await chat.get("/health")
    assert json.loads(health.body)["online"] == 2


@pytest.fixture
def hurried(io_loop: IOLoop, make_world: MakeWorld) -> Iterator[Served]:
    """A chat that waits for nobody."""
    running = make_world(
        rate_limit=0,
        call_rate=0,
        max_handshakes=AT_ONCE + 5,
        handshake_timeout=0.3,
        close_timeout=0.2,
    )
    errors = Errors()
    logging.getLogger().addHandler(errors)
    with capture_logs() as logs:
        chat = io_loop.run_sync(running.__aenter__)
        served = Served(io_loop, chat, logs, errors)
        yield served
        served.run(_is_left(chat))
        io_loop.run_sync(partial(running.__aexit__, None, None, None))
    logging.getLogger().removeHandler(errors)


def test_any_request_gets_an_answer_that_is_no_fault_of_ours(hurried: Served) -> None:
    token = hurried.world.token(1001).encode()
    request = near_requests() | st.binary(max_size=200)

    @settings(max_examples=examples(15))
    @given(st.lists(request, min_size=AT_ONCE, max_size=AT_ONCE))
    @example(
        [
            b"OPTIONS /ws?token=TOKEN HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /ws?token=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /api/push HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]",
            b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"x" * 20_000,
            b"GET /health HTTP/1.1\r\nHost: x\r\nAccept-Language: " + b"\xff;q=\xff," * 500,
            b"GET /message/offline?limit=%ff&token=TOKEN HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
    )
    def check(requests: list[bytes]) -> None:
        sent = [data.replace(b"TOKEN", token) for data in requests]
        for data, answer in zip(sent, hurried.run(_answers(hurried.world, sent)), strict=True):
            if not answer:
                continue
            head, _, body = answer.partition(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            assert head.startswith(b"HTTP/1.1 "), data
            assert status != 500, data
            # What Tornado itself refuses as no HTTP has no body; the answers of ours are JSON.
            if status >= 400 and body and not data.startswith(b"HEAD"):
                failure = json.loads(body.partition(b"HTTP/1.1 ")[0])
                assert failure["code"], data
                check_text(failure["message"])

    check()
