"""One POST to a push service: what is signed, and what each answer means."""

import asyncio
import hashlib
import hmac
import json
import re
import socket
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from skyeim_ws.webhook.post import Answer, Post, Verdict, asked, body
from tests.webhook.receiver import SECRET, receiving

NOTICES = [(b"1-0", b'{"userId":7,"kind":"missed"}'), (b"2-0", b'{"userId":8,"kind":"missed"}')]


async def answered(status: int, headers: dict[str, str] | None = None) -> Answer:
    async with receiving() as receiver:
        receiver.statuses, receiver.headers = [status], headers or {}
        post = Post(receiver.url, SECRET, 5)
        try:
            return await post(NOTICES)
        finally:
            post.close()


def test_a_body_names_each_notice() -> None:
    assert json.loads(body(NOTICES)) == {
        "notices": [
            {"id": "1-0", "userId": 7, "kind": "missed"},
            {"id": "2-0", "userId": 8, "kind": "missed"},
        ]
    }


@pytest.mark.gen_test
async def test_what_is_posted_is_signed_and_taken() -> None:
    async with receiving() as receiver:
        post = Post(receiver.url, SECRET, 5)
        assert await post(NOTICES) == Answer(Verdict.TAKEN)
        post.close()
    assert [each["id"] for each in receiver.taken] == ["1-0", "2-0"]
    assert abs(int(receiver.posts[0].headers["X-Skyeim-Timestamp"]) - time.time()) < 60


@pytest.mark.gen_test
async def test_the_check_of_the_guide_knows_us_and_nobody_else() -> None:
    guide = (Path(__file__).parent.parent.parent / "docs/webhook.md").read_text()
    [source] = re.findall(r"```python\n(.*?)```", guide, re.S)
    known: dict[str, Any] = {"hashlib": hashlib, "hmac": hmac, "time": time}
    exec(source, known)
    is_ours = known["is_ours"]
    async with receiving() as receiver:
        post = Post(receiver.url, SECRET, 5)
        await post(NOTICES)
        post.close()
    [request] = receiver.posts
    assert is_ours(SECRET.encode(), request.headers, request.body)
    assert not is_ours(b"another", request.headers, request.body)
    assert not is_ours(SECRET.encode(), request.headers, request.body + b" ")
    old = {**request.headers, "X-Skyeim-Timestamp": "1795478606"}
    assert not is_ours(SECRET.encode(), old, request.body)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 413])
@pytest.mark.gen_test
async def test_what_is_refused_is_not_posted_again(status: int) -> None:
    assert await answered(status) == Answer(Verdict.REFUSED, f"HTTP {status}")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
@pytest.mark.gen_test
async def test_what_may_be_taken_later_is_posted_again(status: int) -> None:
    answer = await answered(status, {"Retry-After": "7"})
    assert answer == Answer(Verdict.LATER, f"HTTP {status}", 7)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 0), ("", 0), ("7", 7), ("-1", 0), ("soon", 0), ("1e9", 0), ("99999", 300)]
    + [(f"Wed, 21 Oct {year} 07:28:00 GMT", 0) for year in ("2015", "9" * 5, "9" * 11)]
    + [("9" * 5_000, 300), ("Wed, 21 Oct 2015 07:28:00 +99999999999999", 0)],
)
def test_a_pause_that_is_asked_for_is_bounded(text: str | None, seconds: float) -> None:
    assert asked(text) == seconds


def test_a_pause_may_be_a_date() -> None:
    assert 50 < asked(formatdate(time.time() + 60, usegmt=True)) <= 60


@pytest.mark.gen_test
async def test_a_service_that_is_away_or_silent_is_tried_again() -> None:
    async with receiving() as receiver:
        gone = receiver.url
    post = Post(gone, SECRET, 5)
    assert (await post(NOTICES)).verdict is Verdict.LATER
    post.close()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        post = Post(f"http://127.0.0.1:{silent.getsockname()[1]}/", SECRET, 0.1)
        assert await post(NOTICES) == Answer(Verdict.LATER, "HTTPTimeoutError")
        post.close()


async def said(answer: bytes, *, then: bytes = b"", timeout: float = 5) -> Answer:
    """Return what becomes of a POST that gets these bytes, and more of the others for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b'"missed"}]}')
            writer.write(answer)
            while then:
                writer.write(then)
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:  # it has heard enough
            pass
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
            served.set()

    served = asyncio.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        post = Post(f"http://127.0.0.1:{port}/", SECRET, timeout)
        try:
            return await post(NOTICES)
        finally:
            post.close()
            await served.wait()


BODIES: dict[str, dict[str, Any]] = {
    "too long": {"answer": b"Content-Length: 1000000000\r\n\r\n", "then": b"x" * 65_536},
    "without an end": {"answer": b"\r\n", "then": b"x" * 65_536},
    "too slow": {"answer": b"Content-Length: 1000\r\n\r\n", "then": b"x", "timeout": 0.3},
    "cut off": {"answer": b"Content-Length: 1000\r\n\r\nx"},
    "no chunks": {"answer": b"Transfer-Encoding: chunked\r\n\r\nno size\r\n"},
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"200 OK", Answer(Verdict.TAKEN)),
        (b"403 Forbidden", Answer(Verdict.REFUSED, "HTTP 403")),
        (b"503 Busy\r\nRetry-After: 7", Answer(Verdict.LATER, "HTTP 503", 7)),
    ],
)
@pytest.mark.gen_test
async def test_the_status_counts_whatever_becomes_of_the_body(
    kind: str, line: bytes, expected: Answer
) -> None:
    body = BODIES[kind]
    assert await said(**body | {"answer": b"HTTP/1.1 %b\r\n" % line + body["answer"]}) == expected


@pytest.mark.gen_test
async def test_what_stands_before_an_answer_is_none() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert await said(early + b"HTTP/1.1 204 No Content\r\n\r\n") == Answer(Verdict.TAKEN)
    assert (await said(early)).verdict is Verdict.LATER


@pytest.mark.gen_test
async def test_a_certificate_that_nobody_trusts_is_not_told() -> None:
    folder = Path(__file__).parent.parent / "gateway/tls"
    files = {
        "certfile": str(folder / "localhost-cert.pem"),
        "keyfile": str(folder / "localhost-key.pem"),
    }
    async with receiving(ssl_options=files) as receiver:
        post = Post(receiver.url.replace("http:", "https:"), SECRET, 5)
        assert await post(NOTICES) == Answer(Verdict.LATER, "SSLCertVerificationError")
        post.close()
        assert receiver.posts == []
