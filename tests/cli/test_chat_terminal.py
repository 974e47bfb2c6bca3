"""The terminal client, against a gateway of a few lines that speaks the same protocol."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from skyeim_ws.cli.chat import terminal as chat_client
from skyeim_ws.cli.chat.conversation import Target, reconnect_delay
from skyeim_ws.contract.codes import CloseCode
from tests.waiting import DEADLINE

TO_1002 = Target(user_id=1002)


def frame(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": data})


class Gateway:
    """A gateway for one client; `plan` says what each frame is answered with."""

    def __init__(self) -> None:
        self.connections: list[GatewaySocket] = []
        self.frames: list[dict[str, Any]] = []
        self.refuse_with = 0
        self.plan: Callable[[GatewaySocket, str, dict[str, Any]], None] = ack_sent
        self.url = ""


def ack_sent(socket: "GatewaySocket", kind: str, data: dict[str, Any]) -> None:
    if kind in ("chat", "group_chat"):
        socket.write_message(frame("ack", msgId=data["msgId"], status="sent", id=1))


class GatewaySocket(WebSocketHandler):
    def initialize(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def prepare(self) -> None:
        if self.gateway.refuse_with:
            self.set_status(self.gateway.refuse_with)
            self.finish({"code": self.gateway.refuse_with, "message": "the token has expired"})

    def open(self, *_: str, **__: str) -> None:
        self.gateway.connections.append(self)
        self.write_message(frame("connected", userId=1001, onlineCount=1))

    def on_message(self, message: str | bytes) -> None:
        decoded = json.loads(message)
        self.gateway.frames.append(decoded)
        self.gateway.plan(self, decoded["type"], decoded["data"])


@pytest.fixture
def gateway(io_loop: Any) -> Iterator[Gateway]:
    made = Gateway()
    server = HTTPServer(Application([("/ws", GatewaySocket, {"gateway": made})]))
    socket, port = bind_unused_port()
    server.add_socket(socket)
    made.url = f"ws://127.0.0.1:{port}/ws"
    yield made
    server.stop()
    io_loop.run_sync(server.close_all_connections)


class Screen:
    """What the client has written, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changed = asyncio.Event()

    def write(self, line: str) -> None:
        self.lines.append(line)
        self.changed.set()

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while not any(text in line for line in self.lines):
                self.changed.clear()
                await self.changed.wait()


class Run:
    """A client at work: lines go in by `type`, and `screen` shows what came out."""

    def __init__(self, url: str, target: Target = TO_1002) -> None:
        self.lines = asyncio.StreamReader()
        self.screen = Screen()
        self.task = asyncio.ensure_future(
            chat_client.run(url, target, lambda: "TOKEN", self.lines, self.screen.write)
        )

    def type(self, text: str) -> None:
        self.lines.feed_data(text.encode())

    async def end(self) -> int:
        """Close the input and return the exit code."""
        self.lines.feed_eof()
        async with asyncio.timeout(DEADLINE):
            return await self.task


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect without waiting, and give up soon."""
    monkeypatch.setattr(chat_client, "reconnect_delay", quick_delay)


def quick_delay(code: int | None, reason: str, attempt: int, jitter: float) -> float | None:
    delay = reconnect_delay(code, reason, attempt, jitter)
    return None if delay is None else 0.01


@pytest.mark.gen_test
async def test_lines_are_sent_and_the_end_of_input_waits_for_the_acks(gateway: Gateway) -> None:
    run = Run(gateway.url)
    run.type("one\ntwo\n/group g1\nthree")
    assert await run.end() == 0
    assert [f["data"]["content"] for f in gateway.frames] == ["one", "two", "three"]
    assert run.screen.lines.count("✓ sent") == 3
    request = gateway.connections[0].request
    assert request.headers["Authorization"] == "Bearer TOKEN"
    assert request.query == ""


@pytest.mark.gen_test
async def test_more_lines_than_the_window_wait_and_keep_their_order(gateway: Gateway) -> None:
    run = Run(gateway.url)
    wanted = [str(number) for number in range(chat_client.WINDOW * 3)]
    run.type("\n".join(wanted))
    assert await run.end() == 0
    assert [f["data"]["content"] for f in gateway.frames] == wanted


@pytest.mark.gen_test
async def test_a_message_is_shown_and_confirmed(gateway: Gateway) -> None:
    run = Run(gateway.url)
    await run.screen.shows("connected as 1001")
    chat = frame("chat", id=5, msgId="m", fromUserId=1002, content="hello")
    gateway.connections[0].write_message(chat)
    await run.screen.shows("1002: hello")
    run.type("bye\n/quit\n")
    assert await run.task == 0
    assert gateway.frames[0] == {"type": "ack", "data": {"msgId": "m", "status": "delivered"}}
    assert gateway.frames[1]["data"]["content"] == "bye"


@pytest.mark.gen_test
@pytest.mark.usefixtures("_quick")
async def test_an_unacknowledged_message_is_sent_again_with_the_same_id(gateway: Gateway) -> None:
    def close_at_first(socket: GatewaySocket, kind: str, data: dict[str, Any]) -> None:
        if kind == "chat" and len(gateway.connections) == 1:
            socket.write_message(frame("chat", id=41, msgId="m", fromUserId=1002, content="x"))
            socket.close(CloseCode.SLOW_CONSUMER, "slow")
        else:
            ack_sent(socket, kind, data)

    gateway.plan = close_at_first
    run = Run(gateway.url)
    run.type("hello\n")
    assert await run.end() == 0
    first, *_, last = [f["data"]["msgId"] for f in gateway.frames if f["type"] == "chat"]
    assert first == last
    assert gateway.connections[1].request.query == "resume=41"
    assert "* 4002 slow; reconnecting in 0.0 s" in run.screen.lines


@pytest.mark.gen_test
@pytest.mark.usefixtures("_quick")
async def test_a_busy_gateway_is_asked_again(gateway: Gateway) -> None:
    def busy_twice(socket: GatewaySocket, kind: str, data: dict[str, Any]) -> None:
        if len(gateway.frames) <= 2:
            busy = frame("ack", msgId=data["msgId"], status="failed", reason="busy")
            socket.write_message(busy)
        else:
            ack_sent(socket, kind, data)

    gateway.plan = busy_twice
    run = Run(gateway.url)
    run.type("hello\n")
    assert await run.end() == 0
    assert len({f["data"]["msgId"] for f in gateway.frames}) == 1
    assert len(gateway.frames) == 3


@pytest.mark.gen_test
async def test_a_refused_message_fails_the_run(gateway: Gateway) -> None:
    def refuse(socket: GatewaySocket, kind: str, data: dict[str, Any]) -> None:
        ack = frame("ack", msgId=data["msgId"], status="failed", reason="not_friend")
        socket.write_message(ack)

    gateway.plan = refuse
    run = Run(gateway.url)
    run.type("hello\n")
    assert await run.end() == 1
    assert "✗ not sent: you are not friends with this user" in run.screen.lines


@pytest.mark.gen_test
async def test_a_newer_login_ends_the_run(gateway: Gateway) -> None:
    run = Run(gateway.url)
    await run.screen.shows("connected")
    gateway.connections[0].close(CloseCode.KICKED, "elsewhere")
    async with asyncio.timeout(DEADLINE):
        assert await run.task == 1
    assert run.screen.lines[-1] == "✗ closed with 4001: you have logged in elsewhere"
    assert len(gateway.connections) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refuses the token: the token has expired"), (404, "refuses: HTTP 404")],
)
async def test_a_refused_handshake_ends_the_run(gateway: Gateway, status: int, said: str) -> None:
    gateway.refuse_with = status
    run = Run(gateway.url)
    async with asyncio.timeout(DEADLINE):
        assert await run.task == 1
    assert run.screen.lines == [f"✗ the gateway {said}"]


@pytest.mark.gen_test
@pytest.mark.usefixtures("_quick")
async def test_an_unready_gateway_is_tried_until_it_is_ready(gateway: Gateway) -> None:
    gateway.refuse_with = 503
    run = Run(gateway.url)
    await run.screen.shows("HTTP 503")
    gateway.refuse_with = 0
    run.type("hello\n")
    assert await run.end() == 0


@pytest.mark.gen_test
async def test_without_a_gateway_a_message_is_reported_as_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_client, "DRAIN_SECONDS", 0.05)
    socket, port = bind_unused_port()
    socket.close()
    run = Run(f"ws://127.0.0.1:{port}/ws")
    run.type("hello\n")
    assert await run.end() == 1
    assert run.screen.lines[-1] == "✗ not acknowledged: 1"


@pytest.mark.gen_test
async def test_an_empty_input_ends_at_once(gateway: Gateway) -> None:
    assert await Run(gateway.url).end() == 0


@pytest.mark.gen_test
async def test_a_line_too_long_is_reported_and_the_next_one_sent(gateway: Gateway) -> None:
    run = Run(gateway.url)
    await run.screen.shows("connected")
    run.type("x" * 200_000 + "\n")
    await run.screen.shows("too long")
    run.type("hello\n")
    assert await run.end() == 0
    assert [f["data"]["content"] for f in gateway.frames] == ["hello"]


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["pipe", "file"])
async def test_the_program_reads_its_input_from_a_pipe_or_a_file(
    kind: str, gateway: Gateway, tmp_path: Any
) -> None:
    source = tmp_path / "lines"
    source.write_text("hello\nworld\n")
    command = ["chat", "--user", "1001", "--to", "1002", "--token", "T", "--url", gateway.url]
    with source.open("rb") as file:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "skyeim_ws", *command),
            stdin=file if kind == "file" else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONUTF8": "1"},
        )
    given = None if kind == "file" else source.read_bytes()
    async with asyncio.timeout(DEADLINE):
        output, _ = await program.communicate(given)
    assert program.returncode == 0
    assert output.decode().splitlines() == ["* connected as 1001, 1 online", "✓ sent", "✓ sent"]
