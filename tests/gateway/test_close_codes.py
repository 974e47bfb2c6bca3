"""Every close code, each for its cause, over real sockets."""

import asyncio
import re
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.frames import Opcode

from skyeim_ws.config.tree import ShutdownConf
from skyeim_ws.conn.client import Client
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.waiting import until

VIOLATIONS = {
    "not masked": b"\x81\x02hi",
    "reserved bit": b"\xc1\x80\0\0\0\0",
    "unknown opcode": b"\x83\x80\0\0\0\0",
    "continuation of nothing": b"\x80\x80\0\0\0\0",
    "fragmented ping": b"\x09\x80\0\0\0\0",
    "ping over 125 bytes": b"\x89\xfe\x00\x7e\0\0\0\0",
    "close with half a code": b"\x88\x81\0\0\0\0\x03",
    "close with 1005": b"\x88\x82\0\0\0\0\x03\xed",
}


@pytest.mark.gen_test
async def test_1000_answers_a_client_that_goes(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await alice.connection.close(1000)
        assert alice.connection.close_code == 1000
        await until(lambda: 1001 not in world.gateway.hub)


@pytest.mark.gen_test
async def test_1001_sends_everyone_away_and_says_when_to_return(make_world: MakeWorld) -> None:
    async with make_world() as world:
        users = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        async with asyncio.TaskGroup() as tasks:
            codes = [tasks.create_task(user.close_code()) for user in users]
            await world.gateway.drain.stop(ShutdownConf(wrap_up_time=1, wait_time=10))
        assert [code.result() for code in codes] == [1001] * 3
        for user in users:
            reason = re.fullmatch(r"retry_after_ms=(\d+)", user.connection.close_reason or "")
            assert reason is not None
            assert 0 < int(reason[1]) <= 60_000
        # The going away is no news: the friends are told to go as well.
        assert not [frame for user in users for frame in user.skipped if frame["type"] == "offline"]


@pytest.mark.gen_test
async def test_1001_for_who_comes_while_the_gateway_stops(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.gateway.drain.stop(ShutdownConf(wrap_up_time=0, wait_time=0))
        late = await world.dial(1001)
        assert await late.close_code() == 1001
        assert (late.connection.close_reason or "").startswith("retry_after_ms=")
        assert late.skipped == []


@pytest.mark.gen_test
async def test_1002_for_a_violation_of_the_protocol(make_world: MakeWorld) -> None:
    async with make_world(close_timeout=0.1) as world:
        for name, data in VIOLATIONS.items():
            async with raw_user(world, 1001) as alice:
                await alice.expect("connected")
                alice.write(data)
                assert (await alice.close_frame()).code == 1002, name
                assert await alice.at_end(), name
        await until(lambda: 1001 not in world.gateway.hub)


@pytest.mark.gen_test
async def test_1003_for_a_binary_frame(make_world: MakeWorld) -> None:
    async with make_world(close_timeout=0.1) as world:
        alice = await world.login(1001)
        await alice.connection.send(b"\x00\x01")
        assert await alice.close_code() == 1003


@pytest.mark.gen_test
async def test_1007_for_text_that_is_not_utf8(make_world: MakeWorld) -> None:
    async with make_world(close_timeout=0.1) as world:
        alice = await world.login(1001)
        await alice.connection.send(b'{"type":"ping\xff"}', text=True)
        assert await alice.close_code() == 1007


@pytest.mark.gen_test
async def test_1009_for_a_message_over_the_limit_and_none_below(make_world: MakeWorld) -> None:
    async with make_world(close_timeout=0.1, max_message_size=200) as world:
        alice = await world.login(1001)
        await alice.connection.send('{"type":"ping"}'.ljust(200))
        await alice.expect("pong")
        await alice.connection.send('{"type":"ping"}'.ljust(201))
        assert await alice.close_code() == 1009


@pytest.mark.gen_test
async def test_1009_counts_the_fragments_of_a_message_together(make_world: MakeWorld) -> None:
    async with make_world(close_timeout=0.1, max_message_size=200) as world:
        alice = await world.login(1001)
        await alice.connection.send([" " * 150, " " * 51])
        assert await alice.close_code() == 1009


@pytest.mark.gen_test
async def test_1011_when_the_gateway_fails_and_others_go_on(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_client: Client, _data: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("skyeim_ws.logic.social.Social.pong", fail)
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        with capture_logs() as logged:
            await alice.send("ping")
            assert await alice.close_code() == 1011
        assert "message_handling_failed" in [entry["event"] for entry in logged]
        await bob.send("chat", toUserId=1003, content="still here")
        assert (await bob.expect("ack"))["status"] == "sent"


@pytest.mark.gen_test
async def test_1013_beyond_the_limit_of_connections(make_world: MakeWorld) -> None:
    async with make_world(settings={"max_conns": 2}) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        refused = await world.dial(1003)
        assert await refused.close_code() == 1013
        assert refused.skipped == []
        # A user who is here may come again: his old connection makes room.
        await world.login(1001)
        assert await alice.close_code() == 4001
        # So does who goes.
        await bob.connection.close()
        await until(lambda: 1002 not in world.gateway.hub)
        await world.login(1003)


@pytest.mark.gen_test
async def test_4001_for_the_older_login_and_kicked_before_it(make_world: MakeWorld) -> None:
    async with make_world() as world:
        older = await world.login(1001)
        newer = await world.login(1001)
        assert await older.close_code() == 4001
        kicked = older.skipped[-1]
        assert kicked["type"] == "kicked"
        assert kicked["data"].keys() == {"reason"}
        assert kicked["data"]["reason"]
        assert await newer.quiet() == []


@pytest.mark.gen_test
async def test_4002_for_who_confirms_nothing_and_nothing_is_lost(make_world: MakeWorld) -> None:
    async with make_world(ledger_size=2) as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002) as bob:
            await bob.expect("connected")
            for msg_id in ("m-1", "m-2", "m-3"):
                await alice.chat(1002, "hello", msgId=msg_id)
            assert (await bob.close_frame()).code == 4002
        again = await world.dial(1002)
        summary = await again.expect("offline_messages")
        assert summary["totalCount"] == 3
        assert [(await again.expect("chat"))["msgId"] for _ in range(3)] == ["m-1", "m-2", "m-3"]


@pytest.mark.gen_test
async def test_4002_for_who_does_not_read(make_world: MakeWorld) -> None:
    async with make_world() as world, raw_user(world, 1002, receive_buffer=4096) as bob:
        await bob.expect("connected")
        event = {"type": "user", "userId": 1002, "notificationType": "n"}
        pushed = 0
        # What the kernel holds for him comes first, then what the gateway may hold.
        while not world.gateway.stats.slow_consumers:
            await world.push(event | {"data": {"text": "x" * 500_000}})
            pushed += 1
            assert pushed < 200
        assert (await bob.close_frame()).code == 4002
    assert world.gateway.stats.slow_consumers == 1


@pytest.mark.gen_test
async def test_4003_when_the_token_expires(make_world: MakeWorld) -> None:
    async with make_world(ping_interval=0.4, pong_timeout=60) as world:
        token = world.token(1001, ttl=3)
        alice = await world.dial(1001, f"ws://127.0.0.1:{world.port}/ws?token={token}")
        assert await alice.close_code() == 4003
        assert "connected" in [frame["type"] for frame in alice.skipped]


@pytest.mark.gen_test
async def test_4004_for_a_flood(make_world: MakeWorld) -> None:
    async with make_world(rate_limit=1, rate_burst=3) as world:
        alice = await world.login(1001)
        await asyncio.gather(
            *(alice.connection.send('{"type":"ping"}') for _ in range(100)), return_exceptions=True
        )
        assert await alice.close_code() == 4004
        # Whoever is only too fast was told so before.
        errors = [frame["data"] for frame in alice.skipped if frame["type"] == "error"]
        assert {error["code"] for error in errors} == {30009}


@pytest.mark.gen_test
async def test_4005_for_who_gives_no_sign_of_life(make_world: MakeWorld) -> None:
    async with make_world(ping_interval=0.2, pong_timeout=0.6) as world:
        async with raw_user(world, 1002) as bob:
            assert (await bob.close_frame()).code == 4005
        await until(lambda: 1002 not in world.gateway.hub)


@pytest.mark.gen_test
async def test_a_pong_alone_keeps_a_connection(make_world: MakeWorld) -> None:
    async with make_world(ping_interval=0.2, pong_timeout=2) as world, raw_user(world, 1001) as bob:
        start = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < start + 2.5:
            bob.send_frame(Opcode.PONG, await bob.next_ping())
        bob.send("ping")
        await bob.expect("pong")
