"""Whatever bytes come in, there is an answer or a defined close code, and others are served."""

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tornado.ioloop import IOLoop
from websockets.frames import Close, Frame, Opcode

from skyeim_ws.contract.codes import UNKNOWN_TYPE, CloseCode
from skyeim_ws.contract.texts import Text
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.long import examples
from tests.waiting import DEADLINE, until
from tests.world import User, World

T = TypeVar("T")

INVALID = 30001
ANSWERS = {
    "chat": {"ack", "error"},
    "group_chat": {"ack", "error"},
    "presence": {"presence", "error"},
    "offline_pull": {"offline_messages", "error"},
    "token": {"error"},
}
"""What is answered, and how; the types that are not here may go without a word."""


fuzzed = settings(max_examples=examples(100))


class Errors(logging.Handler):
    """Collects what goes wrong according to the standard library's log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(f"{record.name}: {self.format(record)}")


class Served:
    """A chat on a loop that runs while an example runs; it must never log an error."""

    def __init__(self, loop: IOLoop, running: World, logs: list[Any], errors: Errors) -> None:
        self.world = running
        self._loop = loop
        self._logs = logs
        self._errors = errors

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run an example and return its result; fails if an error was logged."""
        result: T = self._loop.run_sync(partial(asyncio.wait_for, work, DEADLINE))
        logged = [line for line in self._logs if line["log_level"] in ("error", "critical")]
        records, self._errors.records = self._errors.records, []
        self._logs.clear()
        assert [*logged, *records] == []
        return result


@pytest.fixture
def served(io_loop: IOLoop, make_world: MakeWorld) -> Iterator[Served]:
    running = make_world(rate_limit=0, close_timeout=0.2)
    errors = Errors()
    logging.getLogger().addHandler(errors)
    with capture_logs() as logs:
        chat = io_loop.run_sync(running.__aenter__)
        served = Served(io_loop, chat, logs, errors)
        yield served
        served.run(_another_is_served(chat))
        served.run(_nothing_is_left(chat))
        io_loop.run_sync(partial(running.__aexit__, None, None, None))
    logging.getLogger().removeHandler(errors)


async def _another_is_served(chat: World) -> None:
    alice, bob = await chat.login(1002), await chat.login(1003)
    await alice.chat(1003, "hello", msgId="afterwards")
    await bob.expect("chat", msgId="afterwards")
    assert json.loads((await chat.get("/health")).body)["status"] == "ok"


async def _nothing_is_left(chat: World) -> None:
    """Whatever was said, it holds no memory when all have gone."""
    running = chat.gateway
    for client in running.hub:
        context = client.context
        client.disconnect(CloseCode.NORMAL, Text.KICKED())
    await until(lambda: not running.hub and not running.sending.under_way)
    await until(lambda: not len(running.router) and not running.router.queued)
    await until(lambda: not len(context.timer_wheel) and not context.awaiting_confirmation)


# JSON, of every kind that a text frame can carry.

text = st.text(max_size=20) | st.sampled_from(["\0", "\ud800", "\udfff\ud800", "k" * 5_000])
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**63 - 1, 2**63, 10**400, 1e308])
scalars = st.none() | st.booleans() | numbers | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)
nested = st.builds(
    lambda opening, closing, depth: opening * depth + closing * depth,
    st.sampled_from(["[", '{"a":']),
    st.sampled_from(["", "]", "1}"]),
    st.sampled_from([1, 100, 500, 1_000]),
)
json_texts = values.map(json.dumps) | nested

valid_data: dict[str, dict[str, Any]] = {
    "chat": {"toUserId": 1002, "content": "hello", "contentType": 1, "msgId": "m-1"},
    "group_chat": {"groupId": "g_demo", "content": "hello", "atUserIds": [-1], "msgId": "g-1"},
    "ack": {"msgId": "m-1", "msgIds": ["m-2"], "status": "delivered"},
    "read": {"peerId": 1002, "msgIds": ["m-1"]},
    "group_read": {"groupId": "g_demo", "readSeq": 1},
    "typing": {"toUserId": 1002, "groupId": "g_demo"},
    "presence": {"userIds": [1001, 1002]},
    "offline_pull": {"limit": 20},
    "token": {"token": "none"},
    "ping": {"any": "thing"},
}


def _object(pairs: list[tuple[str, str]]) -> str:
    """Return the JSON of an object whose keys may come twice."""
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"


@st.composite
def near_valid(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a type, and a frame of it in which some fields are not what they ought to be."""
    kind = draw(st.sampled_from(sorted(valid_data)))
    pairs = [(key, json.dumps(value)) for key, value in valid_data[kind].items()]
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from([*valid_data[kind], "other", "k" * 5_000]))
        change = draw(st.sampled_from(["replace", "drop", "repeat"]))
        if change != "repeat":
            pairs = [pair for pair in pairs if pair[0] != key]
        if change != "drop":
            pairs.append((key, draw(json_texts)))
    data = _object(pairs) if draw(st.integers(0, 9)) else draw(json_texts)
    return kind, _object([("type", json.dumps(kind)), ("data", data)])


async def _before_pong(user: User, frame: str) -> list[dict[str, Any]]:
    await user.connection.send(frame)
    return await user.quiet()


async def _send(user: User, kind: str, frame: str) -> None:
    """Send a frame and wait for its answer, if its type has one."""
    frames = await _before_pong(user, frame)
    wanted = ANSWERS.get(kind, set())
    while wanted and not wanted & {frame["type"] for frame in frames}:
        frames.append(await user.receive())
    if frames and frames[-1]["data"].get("status") == "failed":
        await user.expect("error")


def test_text_that_is_no_frame_is_answered_with_an_error(served: Served) -> None:
    user = served.run(served.world.login(1001))

    @fuzzed
    @given(
        st.text(max_size=50)
        | json_texts
        | json_texts.map(lambda value: f'{{"type":{value}}}')
        | json_texts.map(lambda value: f'{{"data":{value}}}')
    )
    @example("")
    @example('{"type":"chat"')
    @example("\0")
    def check(frame: str) -> None:
        frames = served.run(_before_pong(user, frame))
        assert [frame["type"] for frame in frames] == ["error"]
        assert frames[0]["data"]["code"] in (INVALID, UNKNOWN_TYPE)

    check()


def test_near_valid_frames_are_answered_and_close_nothing(served: Served) -> None:
    user = served.run(served.world.login(1001))

    @settings(fuzzed, max_examples=examples(150))
    @given(near_valid())
    def check(drawn: tuple[str, str]) -> None:
        served.run(_send(user, *drawn))

    check()


def test_frames_as_deep_as_they_may_be_long_are_answered(served: Served) -> None:
    user = served.run(served.world.login(1001))
    for piece in ("[", '{"a":', '[{"a":'):
        deep = piece * (200_000 // len(piece))
        for frame in (deep, f'{{"type":{deep}', f'{{"type":"read","data":{deep}'):
            assert [answer["type"] for answer in served.run(_before_pong(user, frame))] == ["error"]
    balanced = "[" * 100_000 + "]" * 100_000
    for kind in valid_data:
        served.run(_send(user, kind, f'{{"type":"{kind}","data":{balanced}}}'))


# What is no text frame at all.

heads = st.integers(0, 255) | st.sampled_from([0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A])
payloads = st.binary(max_size=40) | json_texts.map(lambda value: value.encode()[:2_000])


@st.composite
def near_frames(draw: st.DrawFn) -> bytes:
    """Draw a masked frame whose header may lie about everything."""
    payload = draw(payloads)
    size = draw(st.just(len(payload)) | st.integers(0, 2**64 - 1))
    if draw(st.booleans()) and size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([draw(heads)]) + length + bytes(4) + payload


async def _exchange(chat: World, data: bytes) -> list[tuple[Opcode, bytes]]:
    """Write bytes on an open session, end the connection, and return what came until its end."""
    frames = []
    async with raw_user(chat, 1001) as user:
        await user.expect("connected")
        user.write(data)
        user.end()
        try:
            while True:
                frames.append(await user.read_frame())
        except (asyncio.IncompleteReadError, ConnectionError):
            return frames


def test_bytes_that_are_no_frames_end_with_a_defined_close_code_if_any(served: Served) -> None:
    @fuzzed
    @given(st.lists(near_frames() | st.binary(max_size=50), min_size=1, max_size=5).map(b"".join))
    @example(Frame(Opcode.BINARY, b"hello").serialize(mask=True))
    @example(Frame(Opcode.TEXT, b"\xff").serialize(mask=True))
    @example(Frame(Opcode.CLOSE, b"\x03").serialize(mask=True))
    @example(b"\x81\xff" + b"\xff" * 8)
    def check(data: bytes) -> None:
        for opcode, payload in served.run(_exchange(served.world, data)):
            if opcode is Opcode.TEXT:
                assert json.loads(payload)["type"]
            elif opcode is Opcode.CLOSE and payload:
                close = Close.parse(payload)
                close.check()
                assert close.code != CloseCode.INTERNAL_ERROR

    check()
