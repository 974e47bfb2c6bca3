"""Careless applications, servers that make no sense, clocks that are set: both SDKs go on.

What needs no socket is in `clients/js/test/junk.test.js` and `tests/client/test_junk.py`.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.sdk.conftest import MakeWorld
from tests.sdk.network import network
from tests.sdk.people import MakePerson
from tests.sdk.test_faults import BY_SDK, all_sent, send, texts

JUNK: list[str | bytes] = [
    "",
    "null",
    b"\x00\xff",
    '{"type":"chat","data":{}}',
    '{"type":"chat","data":{"id":"x","msgId":7,"fromUserId":{},"content":null}}',
    '{"type":"group_chat","data":{"groupId":"g","seq":"9"}}',
    '{"type":"offline_messages","data":{}}',
    '{"type":"token","data":{}}',
    '{"type":"nobody knows this","data":{"x":1}}',
]


class Nonsense:
    """A gateway of a few lines that says what it should not; `answers` are those to HTTP calls."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[str] = []
        self.pulls = 0

    def call(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.startswith("/ws?"):
            return None
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return connection.respond(HTTPStatus.OK, answer)

    async def serve(self, connection: ServerConnection) -> None:
        await say(connection, "connected", userId=1001)
        for text in JUNK:
            await connection.send(text)
        async for text in connection:
            frame = json.loads(text)
            match frame["type"]:
                case "offline_pull":
                    self.pulls += 1
                    await say(connection, "offline_messages", pushCount=0, hasMore=True)
                case "chat":
                    msg_id = frame["data"]["msgId"]
                    await say(connection, "ack", msgId=msg_id, status="sent", id=1, timestamp=1)
                case "ping":
                    await say(connection, "pong", timestamp=1)


async def say(connection: ServerConnection, kind: str, **data: Any) -> None:
    await connection.send(json.dumps({"type": kind, "data": data}))


@asynccontextmanager
async def nonsense() -> AsyncIterator[Nonsense]:
    made = Nonsense()
    async with serve(
        made.serve,
        "127.0.0.1",
        0,
        process_request=made.call,
        select_subprotocol=lambda _, offered: offered[0] if offered else None,
    ) as server:
        made.url = BY_SDK.format(next(iter(server.sockets)).getsockname()[1])
        yield made


@pytest.mark.gen_test
async def test_a_server_that_makes_no_sense(person: MakePerson) -> None:
    async with nonsense() as server, person(server.url, "t") as alice:
        for text in texts("still here ", 10):
            await alice.ask("send", to=1002, content=text)
        assert alice.states[-1] == "open"
        assert alice.states.count("open") == 1
        assert alice.events("message") == []
        assert {each["code"] for each in alice.events("error")} == {0}


@pytest.mark.gen_test
async def test_calls_that_are_answered_with_what_is_none(person: MakePerson) -> None:
    """A group that could not be fetched is asked for again, until it could."""
    message = {"id": 9, "msgId": "m", "fromUserId": 2, "groupId": "g", "seq": 1, "content": "x"}
    async with nonsense() as server:
        server.answers = [
            "null",
            '{"code":200,"data":{"list":[{"seq":"1"}]}}',
            json.dumps({"code": 200, "data": {"list": [message], "hasMore": False}}),
        ]
        async with person(server.url, "t") as alice:
            await alice.ask("follow", groupId="g", seq=0)
            await alice.until_shown(1)
            server.answers = ["<html>busy</html>", "[]"]
            for _ in server.answers[:]:
                query = {"peerId": 1002}
                answer = await alice.answer(alice.begin("api", call="history", query=query))
                assert answer["reason"] in ("unreachable", "http_200")


@pytest.mark.gen_test
@pytest.mark.parametrize("mistake", ["!throws", "!nothing", "!lines", "!cancelled"])
async def test_a_token_that_does_not_come_is_asked_for_again(
    make_world: MakeWorld, person: MakePerson, mistake: str
) -> None:
    async with make_world() as world:
        tokens = mistake, world.token(1001)
        async with person(BY_SDK.format(world.port), *tokens, connect=False) as alice:
            connected = alice.begin("connect")
            await alice.until(lambda: "waiting" in alice.states)
            await alice.ask("retry")
            assert "reason" not in await alice.answer(connected)
            assert len(alice.events("error")) == 1
            await alice.ask("send", to=1002, content="here")


@pytest.mark.gen_test
@pytest.mark.parametrize("token", ["!never", "!throws"])
async def test_who_is_closed_before_there_is_a_connection(person: MakePerson, token: str) -> None:
    """Nothing keeps the process, which is looked at when it ends."""
    async with person("http://127.0.0.1:1", token, connect=False) as alice:
        alice.begin("connect")
        alice.begin("send", to=1002, content="never")
        await alice.until(lambda: alice.events("asked"))


@pytest.mark.gen_test
async def test_a_draft_that_cannot_be_sent_does_not_stop_the_others(
    make_world: MakeWorld, person: MakePerson
) -> None:
    wrong: list[dict[str, Any]] = [
        {"to": "ben", "content": "x"},
        {"to": 1002, "content": 7},
        {"to": 1002, "content": "x" * 16385},
        {"to": 1002, "content": "half an emoji \ud83d"},
        {"to": 1002, "groupId": "g_demo", "content": "x"},
        {"groupId": "", "content": "x"},
        {"groupId": "g_demo", "content": "x", "atUserIds": ["ben"]},
    ]
    async with (
        make_world() as world,
        person(BY_SDK.format(world.port), world.token(1001)) as alice,
    ):
        for draft in wrong:
            answer = await alice.answer(alice.begin("send", **draft))
            assert answer["reason"] == "invalid", draft
        await alice.ask("send", to=1002, content="x" * 16384)


@pytest.mark.gen_test
async def test_too_much_for_the_queue_is_refused_and_the_rest_is_sent(
    make_world: MakeWorld, person: MakePerson
) -> None:
    async with (
        make_world() as world,
        network(world.port) as between,
        person(BY_SDK.format(between.port), world.token(1001), queueLimit=50) as alice,
        person(BY_SDK.format(world.port), world.token(1002)) as bob,
    ):
        between.cut()
        await alice.until(lambda: alice.states[-1] == "waiting")
        kept = await send(alice, texts("", 50), to=1002)
        for number in await send(alice, texts("too many ", 200), to=1002):
            assert (await alice.answer(number))["reason"] == "queue_full"
        between.mend()
        await all_sent(alice, kept)
        await bob.until_shown(50)
        assert bob.shown() == texts("", 50)


@pytest.mark.gen_test
@pytest.mark.parametrize("ahead", [-86_400_000, 86_400_000])
async def test_the_clock_of_the_machine_is_set(
    make_world: MakeWorld, person: MakePerson, ahead: int
) -> None:
    """The connection is watched, comes back, and no token is asked for again and again."""
    async with make_world() as world, network(world.port) as between:
        url, times = BY_SDK.format(between.port), {"pingInterval": 100, "pongTimeout": 300}
        async with person(url, world.token(1001), world.token(1001), **times) as alice:
            await alice.ask("clock", ahead=ahead)
            await alice.ask("send", to=1002, content="before")
            between.lose()
            await alice.until(lambda: alice.states.count("open") == 2)
            await alice.ask("send", to=1002, content="after")
            await asyncio.sleep(0)
            assert len(alice.events("asked")) <= 3
            between.cut()  # or the old connection keeps the process
