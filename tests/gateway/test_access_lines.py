"""Each connection, refused handshake and HTTP call has one line: whose it was, how it ended."""

import socket
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.gateway.conftest import MakeWorld
from tests.waiting import until

AGENT = {"user_agent_header": "Client/1.0"}
MILLISECONDS = r"\d+\.\dms"


def said(logs: list[Any], event: str, **fields: object) -> list[Any]:
    return [line for line in logs if line["event"] == event and fields.items() <= line.items()]


@pytest.mark.gen_test
async def test_a_connection_has_one_line_at_its_end(make_world: MakeWorld) -> None:
    async with make_world() as world:
        with capture_logs() as logs:
            alice = await world.login(1001, url=world.url(1001, device="phone"), **AGENT)
            bob = await world.login(1002)
            await alice.chat(1002, "x" * 5_000)
            await bob.expect("chat")
            await alice.expect("ack", status="delivered")
            await alice.connection.close(1000)
            await until(lambda: said(logs, "connection_closed"))
        (line,) = said(logs, "connection_closed")
        assert {name: line[name] for name in ("user", "code", "by", "reason", "device")} == {
            "user": 1001,
            "code": 1000,
            "by": "client",
            "reason": "",
            "device": "phone",
        }
        assert (line["remote"], line["user_agent"]) == ("127.0.0.1", "Client/1.0")
        assert float(line["duration"].removesuffix("ms")) > 0
        # The message, and the close frame; other frames, such as pongs, come as they will.
        assert line["frames_in"] >= 2
        assert line["frames_out"] >= 3  # `connected`, two acks
        assert line["bytes_in"] > 5_000
        assert 0 < line["bytes_out"] < 5_000
        assert line["unconfirmed"] == 0
        assert "new_conn" not in line


@pytest.mark.gen_test
async def test_a_line_counts_what_came_to_a_group(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.quiet()
        with capture_logs() as logs:
            for number in range(10):
                await alice.send("group_chat", groupId="g_demo", content="x", msgId=f"m{number}")
            for _ in range(10):
                await bob.expect("group_chat")
            await bob.connection.close()
            await until(lambda: said(logs, "connection_closed"))
        (line,) = said(logs, "connection_closed")
        assert 11 <= line["frames_out"] <= 20


@pytest.mark.gen_test
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_kick_names_the_newer_connection(make_world: MakeWorld, elsewhere: bool) -> None:
    async with make_world() as world:
        node = await world.add_node() if elsewhere else None
        alice = await world.login(1001)
        with capture_logs() as logs:
            await world.login(1001, node=node)
            assert await alice.close_code() == 4001
            await until(lambda: said(logs, "connection_closed"))
        (line,) = said(logs, "connection_closed")
        (opened,) = said(logs, "connection_opened")
        assert (line["code"], line["by"]) == (4001, "gateway")
        assert (line["new_conn"], line["new_remote"]) == (opened["conn"], "127.0.0.1")
        assert line["conn"] != opened["conn"]
        assert "newer" in line["reason"] or "elsewhere" in line["reason"]


@pytest.mark.gen_test
async def test_a_connection_that_breaks_off_says_so_and_what_it_had_not_confirmed(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        bob = await world.login(1002, url=world.url(1002, confirm="ack"))
        alice = await world.login(1001)
        await alice.chat(1002, "hello")
        await bob.expect("chat")
        with capture_logs() as logs:
            connection: socket.socket = bob.connection.transport.get_extra_info("socket")
            connection.shutdown(socket.SHUT_RDWR)
            await until(lambda: said(logs, "connection_closed", user=1002))
        (line,) = said(logs, "connection_closed", user=1002)
        assert (line["code"], line["by"], line["unconfirmed"]) == (1006, "network", 1)
        assert line["bytes_in"] > 0


@pytest.mark.gen_test
async def test_a_refused_handshake_has_one_line(make_world: MakeWorld) -> None:
    async with make_world(origins=("https://chat.example",), login_burst=1) as world:
        good = world.token(1001)
        await world.login(1001, origin="https://chat.example")
        with capture_logs() as logs:
            for path in (
                "/ws",
                f"/ws?token={good}x",
                f"/ws?token={good}",
            ):
                assert (await world.fetch(path)).code >= 400
        lines = said(logs, "handshake_refused")
        assert [(line["status"], line.get("user")) for line in lines] == [
            (401, None),
            (401, None),
            (426, 1001),
        ]
        assert all(line["reason"] and line["remote"] == "127.0.0.1" for line in lines)
        assert good not in repr(logs)
        assert len(logs) == len(lines)


@pytest.mark.gen_test
async def test_an_http_call_has_a_line(make_world: MakeWorld) -> None:
    async with make_world() as world:
        with capture_logs() as logs:
            await world.get("/message/offline", 1001)
            await world.get("/message/history?peerId=x", 1001)
            await world.get("/message/offline")
            await world.get("/health")
            await world.push({"type": "user", "userId": 1, "notificationType": "n", "data": {}})
        lines = [line for line in logs if line["event"].startswith("call_")]
        assert [
            (line["event"], line["path"], line["status"], line.get("user"), line["log_level"])
            for line in lines
        ] == [
            ("call_answered", "/message/offline", 200, 1001, "info"),
            ("call_refused", "/message/history", 400, 1001, "info"),
            ("call_refused", "/message/offline", 401, None, "info"),
            ("call_answered", "/health", 200, None, "debug"),
            ("call_answered", "/api/push", 200, None, "info"),
        ]
        assert lines[1]["reason"]
        assert world.token(1001) not in repr(lines)
