"""The client around its core: what it raises, tells and leaves behind, against a gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from skyeim_ws.client import (
    Connected,
    Message,
    Problem,
    SkyeError,
    SkyeIM,
    State,
    StateChanged,
)
from skyeim_ws.client.api import Api
from tests.waiting import until


class Gateway:
    """A gateway of a few lines; `refuse` has the answers to the next handshakes and calls."""

    def __init__(self) -> None:
        self.url = ""
        self.refuse: list[tuple[int, str]] = []
        self.paths: list[str] = []
        self.tokens: list[str] = []
        self.frames: list[dict[str, Any]] = []

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        self.tokens.append(request.headers["Authorization"])
        if self.refuse:
            status, body = self.refuse.pop(0)
            return connection.respond(HTTPStatus(status), body)
        return None

    async def serve(self, connection: ServerConnection) -> None:
        hello = {"userId": 1001, "onlineCount": 1, "connId": "c", "server": "s"}
        await connection.send(json.dumps({"type": "connected", "data": hello}))
        async for text in connection:
            frame = json.loads(text)
            self.frames.append(frame)
            if frame["type"] == "chat":
                data = {"msgId": frame["data"]["msgId"], "status": "sent", "id": 7, "timestamp": 1}
                await connection.send(json.dumps({"type": "ack", "data": data}))
                message = frame["data"] | {"id": 8, "msgId": "back", "fromUserId": 1002}
                await connection.send(json.dumps({"type": "chat", "data": message}))


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    async with serve(made.serve, "127.0.0.1", 0, process_request=made.answer) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


@pytest.mark.gen_test
async def test_it_connects_sends_shows_confirms_and_closes() -> None:
    async with gateway() as server:
        client = SkyeIM(f"{server.url.replace('http', 'ws')}/ws", "t", device="a b")
        shown: list[Message] = []
        client.on(Message, shown.append)
        async with client:
            assert (client.state, client.user_id) == (State.OPEN, 1001)
            sent = await client.send("hello", to=1002)
            assert (sent.id, sent.seq, client.waiting) == (7, 0, 0)
            await until(lambda: shown)
        assert client.state is State.STOPPED
        assert [each.content for each in shown] == ["hello"]
        acks = [each["data"] for each in server.frames if each["type"] == "ack"]
        assert acks == [{"msgId": "back", "status": "delivered"}]
        assert server.paths == ["/ws?confirm=ack&device=a+b"]
        assert server.tokens == ["Bearer t"]


@pytest.mark.gen_test
async def test_what_is_wrong_with_a_message_is_said_at_once() -> None:
    async with gateway() as server, SkyeIM(server.url, "t") as client:
        for content, target, said in (
            ("", {"to": 1}, "content"),
            ("x" * 16_385, {"to": 1}, "content"),
            ("x", {}, "either"),
            ("x", {"to": 1, "group_id": "g"}, "either"),
            ("x", {"to": 1, "msg_id": "a b"}, "msg_id"),
        ):
            with pytest.raises(SkyeError, match=said) as refused:
                client.send(content, **target)
            assert (refused.value.reason, refused.value.code) == ("invalid", 30001)


@pytest.mark.gen_test
async def test_a_closed_client_says_so_and_what_waited_fails() -> None:
    async with gateway() as server:
        client = SkyeIM(server.url, "t")
        waiting = client.send("never", to=1002)
        await client.close()
        await client.close()
        for attempt in (waiting, client.connect()):
            with pytest.raises(SkyeError) as closed:
                await attempt
            assert closed.value.reason == "closed"
        with pytest.raises(SkyeError):
            client.send("x", to=1002)


@pytest.mark.gen_test
async def test_a_refused_handshake_ends_it_or_has_it_come_back() -> None:
    async with gateway() as server:
        tokens = iter(["old", "new"])
        changes: list[StateChanged] = []
        server.refuse = [
            (401, '{"code":401,"message":"the token has expired"}'),
            (429, '{"code":30009,"message":"too often","retry_after_ms":10}'),
        ]
        client = SkyeIM(server.url, lambda _: next(tokens))
        client.on(StateChanged, changes.append)
        async with client:
            waited = [each for each in changes if each.state is State.WAITING]
            assert [(each.code, each.reason) for each in waited] == [
                (401, "the token has expired"),
                (429, "retry_after_ms=10"),
            ]
            assert waited[1].retry_in == 0.01
            assert server.tokens == ["Bearer old", "Bearer new", "Bearer new"]
        server.refuse = [(403, "no JSON")]
        with pytest.raises(SkyeError, match="not connected") as refused:
            await SkyeIM(server.url, "t").connect()
        assert refused.value.reason == "refused"


@pytest.mark.gen_test
async def test_faults_of_the_application_do_not_stop_it() -> None:
    """A token function that raises is asked again, a handler that raises is reported."""
    async with gateway() as server:
        answers: list[str | Exception] = [OSError("no net"), "t"]
        problems: list[Problem] = []
        reported: list[dict[str, Any]] = []

        async def token(_: bool) -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        def fail(_: Connected) -> None:
            raise RuntimeError("ours")

        asyncio.get_running_loop().set_exception_handler(lambda _, told: reported.append(told))
        client = SkyeIM(server.url, token)
        client.on(Problem, problems.append)
        off = client.on(Connected, fail)
        async with client:
            off()
            off()
            assert client.state is State.OPEN
            client.retry()
            await until(lambda: server.frames)
            assert server.frames[0]["type"] == "ping"
        assert [each.message for each in problems] == ["no token: no net"]
        assert [str(each["exception"]) for each in reported] == ["ours"]


@pytest.mark.gen_test
async def test_calls_that_fail_say_why() -> None:
    async with gateway() as server:
        tokens = iter(["old", "new"])
        api = Api(server.url, lambda _: next(tokens))
        server.refuse = [
            (401, '{"code":401,"message":"expired"}'),
            (200, '{"code":200,"message":"success","data":{"count":3}}'),
            (404, '{"code":30005,"message":"no such group"}'),
            (503, '{"code":503,"message":"away"}'),
            (502, "<html>"),
        ]
        assert await api.unread_count(1002) == 3
        assert server.tokens == ["Bearer old", "Bearer new"]
        for reason, code in (("group_not_found", 30005), ("http_503", 503), ("unreachable", 0)):
            with pytest.raises(SkyeError) as failed:
                await api.search("a b")
            assert (failed.value.reason, failed.value.code) == (reason, code)
        assert server.paths[-1] == "/message/search?keyword=a+b"
    with pytest.raises(SkyeError, match="reached"):
        await api.friends()


@pytest.mark.parametrize("url", ["chat.example.com", "ftp://a", "ws://", "file:///etc/passwd"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="a URL begins with"):
        Api(url, "t")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("ws://a:1/ws", "http://a:1"),
        ("wss://a/im/ws", "https://a/im"),
        ("https://a/", "https://a"),
        ("http://a:1", "http://a:1"),
    ],
)
def test_the_address_of_the_calls(url: str, base: str) -> None:
    assert Api(url, "t").base == base
