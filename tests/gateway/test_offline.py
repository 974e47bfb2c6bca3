"""The offline queue, end to end: windows, confirmation, order, bounds."""

import json
from typing import Any

import pytest
from websockets.frames import Opcode

from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import RawUser, raw_user
from tests.waiting import until_async
from tests.world import User, World

KEY = "offline:private:1003"


async def leave_messages(world: World, count: int) -> list[str]:
    """Let 1001 write to 1003, who is away; return the msgIds in order."""
    alice = await world.login(1001)
    msg_ids = [f"m-{number:03}" for number in range(count)]
    for msg_id in msg_ids:
        await alice.chat(1003, f"content of {msg_id}", msgId=msg_id)
    await queue_is(world, count)
    return msg_ids


async def queue_is(world: World, length: int) -> None:
    """Wait until the queue of 1003 has this many entries."""

    async def reached() -> bool:
        return bool(await world.redis.llen(KEY) == length)

    await until_async(reached)


async def window(user: User | RawUser) -> tuple[dict[str, Any], list[str]]:
    """Return the next `offline_messages` and the msgIds of what was pushed behind it."""
    summary = await user.expect("offline_messages")
    msg_ids = [(await user.expect("chat"))["msgId"] for _ in range(summary["pushCount"])]
    return summary, msg_ids


@pytest.mark.gen_test
async def test_an_empty_queue_is_told_to_who_asks_alone(make_world: MakeWorld) -> None:
    """Existing clients take the absence at a login as the sign to fetch over HTTP."""
    async with make_world() as world:
        carol = await world.login(1003)
        assert await carol.quiet() == []
        await carol.send("offline_pull")
        assert await carol.expect("offline_messages") == {
            "messageType": "private",
            "totalCount": 0,
            "pushCount": 0,
            "hasMore": False,
            "remainCount": 0,
        }


@pytest.mark.gen_test
async def test_the_newest_20_come_first_and_older_ones_on_request(make_world: MakeWorld) -> None:
    async with make_world() as world:
        msg_ids = await leave_messages(world, 30)
        async with raw_user(world, 1003) as carol:
            summary, pushed = await window(carol)
            assert summary == {
                "messageType": "private",
                "totalCount": 30,
                "pushCount": 20,
                "hasMore": True,
                "remainCount": 10,
            }
            assert pushed == msg_ids[10:]
            carol.send("offline_pull", limit=6)
            summary, pushed = await window(carol)
            assert (summary["pushCount"], summary["hasMore"], summary["remainCount"]) == (
                6,
                True,
                4,
            )
            assert pushed == msg_ids[4:10]
            carol.send("offline_pull")
            summary, pushed = await window(carol)
            assert (summary["pushCount"], summary["hasMore"], summary["remainCount"]) == (
                4,
                False,
                0,
            )
            assert pushed == msg_ids[:4]
            carol.send("offline_pull")
            summary, pushed = await window(carol)
            assert (summary["pushCount"], summary["hasMore"], summary["remainCount"]) == (
                0,
                False,
                0,
            )
            # Nothing was confirmed, so nothing has left the queue.
            assert await world.redis.llen(KEY) == 30


@pytest.mark.gen_test
async def test_pushed_messages_are_those_that_were_sent(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        sent = await alice.chat(1003, "hello", msgId="m-1", contentType=3)
        await queue_is(world, 1)
        carol = await world.dial(1003)
        message = await carol.expect("chat")
        assert message == {
            "id": sent["id"],
            "msgId": "m-1",
            "fromUserId": 1001,
            "toUserId": 1003,
            "content": "hello",
            "contentType": 3,
            "createdAt": message["createdAt"],
        }


@pytest.mark.gen_test
async def test_the_limit_of_the_first_window_is_configured(make_world: MakeWorld) -> None:
    async with make_world(offline_push_limit=3) as world:
        msg_ids = await leave_messages(world, 5)
        summary, pushed = await window(await world.dial(1003))
        assert (summary["totalCount"], summary["remainCount"]) == (5, 2)
        assert pushed == msg_ids[2:]


@pytest.mark.gen_test
async def test_a_pong_confirms_the_window_and_tells_the_sender(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await alice.chat(1003, "hello", msgId="m-1")
        await queue_is(world, 1)
        async with raw_user(world, 1003) as carol:
            await carol.expect("chat", msgId="m-1")
            ping = await carol.next_ping()
            assert "ack" not in [frame["type"] for frame in await alice.quiet()]
            assert await world.redis.llen(KEY) == 1
            carol.send_frame(Opcode.PONG, ping)
            await alice.expect("ack", msgId="m-1", status="delivered")
            await queue_is(world, 0)


@pytest.mark.gen_test
async def test_an_ack_takes_its_message_alone_out_of_the_queue(make_world: MakeWorld) -> None:
    async with make_world() as world:
        msg_ids = await leave_messages(world, 3)
        async with raw_user(world, 1003) as carol:
            await window(carol)
            carol.send("ack", msgId=msg_ids[1], status="delivered")
            await queue_is(world, 2)
        left = [json.loads(entry)["msgId"] for entry in await world.redis.lrange(KEY, 0, -1)]
        assert left == [msg_ids[2], msg_ids[0]]
        _, pushed = await window(await world.dial(1003))
        assert pushed == [msg_ids[0], msg_ids[2]]
        await queue_is(world, 0)


@pytest.mark.gen_test
async def test_what_a_lost_connection_has_not_confirmed_comes_again_once_in_order(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        queued = await leave_messages(world, 3)
        alice = await world.login(1001)
        live = ["z-1", "z-2", "z-3"]
        async with raw_user(world, 1003) as carol:
            await window(carol)
            for msg_id in live:
                await alice.chat(1003, "live", msgId=msg_id)
                await carol.expect("chat", msgId=msg_id)
            # Seen and read, and then the line is cut.
        await queue_is(world, 6)
        again = await world.dial(1003)
        summary, pushed = await window(again)
        assert summary["totalCount"] == 6
        assert pushed == queued + live
        await queue_is(world, 0)
        assert "chat" not in [frame["type"] for frame in await again.quiet()]
        assert await (await world.login(1003)).quiet() == []


@pytest.mark.gen_test
async def test_what_a_replaced_connection_has_not_confirmed_is_not_lost(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, 1003) as older:
            for msg_id in ("m-1", "m-2"):
                await alice.chat(1003, "hello", msgId=msg_id)
                await older.expect("chat", msgId=msg_id)
            newer = await world.dial(1003)
            _, pushed = await window(newer)
            assert pushed == ["m-1", "m-2"]
            assert (await older.close_frame()).code == 4001


@pytest.mark.gen_test
async def test_the_queue_keeps_the_newest_and_not_for_ever(make_world: MakeWorld) -> None:
    async with make_world(offline_queue_size=5, offline_ttl=1000.0) as world:
        alice = await world.login(1001)
        for number in range(8):
            await alice.chat(1003, "x", msgId=f"m-{number}")

        async def kept() -> bool:
            entries = await world.redis.lrange(KEY, 0, -1)
            return [json.loads(entry)["msgId"] for entry in entries] == [
                f"m-{number}" for number in (7, 6, 5, 4, 3)
            ]

        await until_async(kept)
        assert 0 < await world.redis.ttl(KEY) <= 1000


@pytest.mark.gen_test
async def test_entries_of_the_go_gateway_are_pushed_and_confirmed(make_world: MakeWorld) -> None:
    data = {
        "id": 5,
        "msgId": "go-1",
        "fromUserId": 1001,
        "toUserId": 1003,
        "content": "from <Go>",
        "contentType": 1,
        "createdAt": 1700000000,
    }
    # As encoding/json writes it, bare or within the frame of the message.
    bare = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e")
    framed = json.dumps({"type": "chat", "data": data | {"id": 6, "msgId": "go-2", "status": 0}})
    async with make_world() as world:
        alice = await world.login(1001)
        await world.redis.lpush(KEY, bare)
        await world.redis.lpush(KEY, framed)
        await world.redis.lpush(KEY, "neither JSON nor a message")
        carol = await world.dial(1003)
        assert (await carol.expect("offline_messages"))["pushCount"] == 2
        assert await carol.expect("chat") == data
        assert (await carol.expect("chat"))["msgId"] == "go-2"
        for msg_id in ("go-1", "go-2"):
            await alice.expect("ack", msgId=msg_id, status="delivered")
        await queue_is(world, 0)


@pytest.mark.gen_test
async def test_a_second_pull_before_the_first_is_served_is_busy_or_served(
    make_world: MakeWorld,
) -> None:
    async with make_world(offline_push_limit=1) as world:
        msg_ids = await leave_messages(world, 9)
        carol = await world.dial(1003)
        await window(carol)
        for _ in range(8):
            await carol.send("offline_pull", limit=1)
        await carol.send("ping")
        seen: list[str] = []
        while len(seen) < 8:
            frame = await carol.receive()
            if frame["type"] == "error":
                assert frame["data"]["code"] == 30010
                await carol.send("offline_pull", limit=1)
            elif frame["type"] == "chat":
                seen.append(frame["data"]["msgId"])
        assert seen == msg_ids[7::-1]
