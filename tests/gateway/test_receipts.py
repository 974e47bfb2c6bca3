"""What readers say of the messages they have, and what becomes of it in the database."""

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from websockets.frames import Opcode

from skyeim_ws.services.tables import (
    BLOCKED,
    READ,
    UNREAD,
    friends,
    group_members,
    messages,
)
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.waiting import until_async
from tests.world import World


async def statuses(world: World) -> dict[str, int]:
    """Return the status of each stored message by its msgId."""
    rows = await world.rows(select(messages.c.msg_id, messages.c.status))
    return {row.msg_id: row.status for row in rows}


async def read_mark(world: World, user_id: int) -> int:
    [row] = await world.rows(
        select(group_members.c.read_seq).where(group_members.c.user_id == user_id)
    )
    return int(row.read_seq)


@pytest.mark.gen_test
async def test_ack_read_marks_the_message_and_tells_its_sender(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002) as bob:
            for msg_id in ("m-1", "m-2"):
                await alice.chat(1002, "hello", msgId=msg_id)
                await bob.expect("chat", msgId=msg_id)
            bob.send("ack", msgId="m-1", status="read")
            await alice.expect("ack", msgId="m-1", status="delivered")
            read = await alice.expect("ack", msgId="m-1", status="read")
            assert read.keys() == {"msgId", "status", "timestamp"}
            assert await statuses(world) == {"m-1": READ, "m-2": UNREAD}


@pytest.mark.gen_test
async def test_ack_read_works_for_what_a_pong_has_confirmed_before(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002) as bob:
            await alice.chat(1002, "hello", msgId="m-1")
            bob.send_frame(Opcode.PONG, await bob.next_ping())
            await alice.expect("ack", msgId="m-1", status="delivered")
            bob.send("ack", msgId="m-1", status="read")
            await alice.expect("ack", msgId="m-1", status="read")
            assert await statuses(world) == {"m-1": READ}


@pytest.mark.gen_test
async def test_one_ack_confirms_many_messages_of_several_senders(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, carol = await world.login(1001), await world.login(1003)
        async with raw_user(world, 1002) as bob:
            await alice.chat(1002, "hello", msgId="a-1")
            bob.send_frame(Opcode.PONG, await bob.next_ping())  # it is not in the ledger any more
            await alice.expect("ack", msgId="a-1", status="delivered")
            for user, msg_id in ((alice, "a-2"), (carol, "c-1"), (carol, "c-2")):
                await user.chat(1002, "hello", msgId=msg_id)
                await bob.expect("chat", msgId=msg_id)
            bob.send("ack", msgIds=["a-1", "a-2", "a-2", "c-1", "nobody-knows-this"], status="read")
            await alice.expect("ack", msgId="a-2", status="delivered")
            await carol.expect("ack", msgId="c-1", status="delivered")
            for user, msg_ids in ((alice, {"a-1", "a-2"}), (carol, {"c-1"})):
                told = [await user.expect("ack", status="read") for _ in msg_ids]
                assert {ack["msgId"] for ack in told} == msg_ids
            assert await statuses(world) == {"a-1": READ, "a-2": READ, "c-1": READ, "c-2": UNREAD}
            bob.send("ack", msgIds=["c-2"], status="delivered")
            await carol.expect("ack", msgId="c-2", status="delivered")
            assert (await statuses(world))["c-2"] == UNREAD


@pytest.mark.gen_test
async def test_an_ack_names_one_message_at_least_and_not_too_many(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        wrong: list[dict[str, Any]] = [{}, {"msgIds": []}, {"msgIds": ["m"] * 201}]
        for names in wrong:
            await alice.send("ack", status="delivered", **names)
            assert (await alice.expect("error"))["code"] == 30001
        await alice.send("ack", status="delivered", msgIds=[f"m-{n}" for n in range(200)])
        assert await alice.quiet() == []


@pytest.mark.gen_test
async def test_with_confirm_ack_a_pong_confirms_nothing(make_world: MakeWorld) -> None:
    async with make_world(ping_interval=0.2, confirm_interval=0.05) as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002, query="?confirm=ack") as bob:
            await alice.chat(1002, "hello", msgId="m-1")
            await bob.expect("chat", msgId="m-1")
            for _ in range(2):  # signs of life; a proxy would answer them
                bob.send_frame(Opcode.PONG, await bob.next_ping())
            bob.send("ping")
            await bob.expect("pong")
            assert {frame["type"] for frame in await alice.quiet()} <= {"online"}
            await alice.chat(1002, "hello", msgId="m-2")
            bob.send("ack", msgId="m-2", status="delivered")
            await alice.expect("ack", msgId="m-2", status="delivered")
        bob_again = await world.dial(1002)
        assert (await bob_again.expect("chat"))["msgId"] == "m-1"


@pytest.mark.gen_test
async def test_read_marks_the_named_messages_and_tells_the_peer(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        for number in range(3):
            await alice.chat(1002, "hello", msgId=f"m-{number}")
        await bob.send("read", peerId=1001, msgIds=["m-0", "m-2"])
        receipt = await alice.expect("read")
        assert receipt == {
            "userId": 1002,
            "msgIds": ["m-0", "m-2"],
            "timestamp": receipt["timestamp"],
        }
        assert await statuses(world) == {"m-0": READ, "m-1": UNREAD, "m-2": READ}


@pytest.mark.gen_test
async def test_read_without_names_marks_all_messages_from_the_peer_alone(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await alice.chat(1002, "hello", msgId="from-alice-1")
        await alice.chat(1002, "hello", msgId="from-alice-2")
        await carol.chat(1002, "hello", msgId="from-carol")
        await bob.chat(1001, "hello", msgId="from-bob")
        await bob.send("read", peerId=1001)
        receipt = await alice.expect("read")
        assert receipt == {"userId": 1002, "timestamp": receipt["timestamp"]}
        assert await statuses(world) == {
            "from-alice-1": READ,
            "from-alice-2": READ,
            "from-carol": UNREAD,
            "from-bob": UNREAD,
        }
        assert "read" not in [frame["type"] for frame in await carol.quiet()]


@pytest.mark.gen_test
async def test_a_friend_hears_of_a_read_also_when_nothing_was_left(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1002, "hello", msgId="m-1")
        for _ in range(2):
            await bob.send("read", peerId=1001, msgIds=["m-1"])
            assert (await alice.expect("read"))["msgIds"] == ["m-1"]
            await bob.send("read", peerId=1001)
            assert "msgIds" not in await alice.expect("read")
        # But not from somebody whom the friend has blocked.
        await world.execute(
            update(friends)
            .where(friends.c.user_id == 1003, friends.c.friend_id == 1002)
            .values(status=BLOCKED)
        )
        carol = await world.login(1003)
        await bob.send("read", peerId=1003)
        await bob.send("read", peerId=1001)
        await alice.expect("read")
        assert {frame["type"] for frame in await carol.quiet()} <= {"online"}


@pytest.mark.gen_test
async def test_nobody_can_read_the_messages_of_others(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, carol = await world.login(1001), await world.login(1003)
        await alice.chat(1002, "hello", msgId="m-1")
        own: dict[str, Any] = {"peerId": 1001, "msgIds": ["m-1"]}
        await carol.send("read", **own)
        await alice.chat(1003, "a round trip later", msgId="m-2")
        await carol.send("read", peerId=1001)

        async def second_is_read() -> bool:
            return (await statuses(world))["m-2"] == READ

        await until_async(second_is_read)
        assert (await statuses(world))["m-1"] == UNREAD


@pytest.mark.gen_test
async def test_a_receipt_names_only_messages_of_the_peer_to_the_reader(
    make_world: MakeWorld,
) -> None:
    """Else it would be a way to tell anybody anything."""
    async with make_world() as world:
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await alice.chat(1002, "hello", msgId="alice-to-bob-1")
        await alice.chat(1002, "hello", msgId="alice-to-bob-2")
        await alice.chat(1003, "hello", msgId="alice-to-carol")
        await carol.chat(1002, "hello", msgId="carol-to-bob")
        await bob.chat(1001, "hello", msgId="bob-to-alice")
        others = ["carol-to-bob", "bob-to-alice", "alice-to-carol", "buy-here.example"]
        await bob.send("read", peerId=1001, msgIds=["alice-to-bob-2", *others, "alice-to-bob-1"])
        assert (await alice.expect("read"))["msgIds"] == ["alice-to-bob-2", "alice-to-bob-1"]
        # And of nothing it tells nothing, by whatever way it comes.
        await bob.send("read", peerId=1001, msgIds=others)
        response = await world.fetch(
            "/message/read",
            method="POST",
            body=json.dumps({"peerId": 1001, "msgIds": others}),
            headers={"Authorization": f"Bearer {world.token(1002)}"},
        )
        assert json.loads(response.body)["data"] == {"count": 0}
        await bob.send("read", peerId=1001, msgIds=["alice-to-bob-1"])
        assert (await alice.expect("read"))["msgIds"] == ["alice-to-bob-1"]
        assert (await statuses(world))["carol-to-bob"] == UNREAD


@pytest.mark.gen_test
async def test_a_receipt_names_what_is_unread_however_old_it_is(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1002, "long ago", msgId="old")
        for number in range(101):
            await bob.chat(1001, "since", msgId=f"m-{number}")
        await bob.send("read", peerId=1001, msgIds=["old"])
        assert (await alice.expect("read"))["msgIds"] == ["old"]


@pytest.mark.gen_test
async def test_group_read_moves_the_mark_forward_only(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        for _ in range(3):
            await alice.send("group_chat", groupId="g_demo", content="x")
            await bob.expect("group_chat")

        async def mark_is(seq: int) -> bool:
            return await read_mark(world, 1002) == seq

        await bob.send("group_read", groupId="g_demo", readSeq=2)
        await until_async(lambda: mark_is(2))
        # Back it does not go, nor beyond the last message.
        await bob.send("group_read", groupId="g_demo", readSeq=1)
        await bob.send("group_read", groupId="g_demo", readSeq=2**62)
        await until_async(lambda: mark_is(3))
        assert await read_mark(world, 1003) == 0


@pytest.mark.gen_test
async def test_group_read_of_a_group_that_is_not_there_gets_an_error(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await alice.send("group_read", groupId="g_none", readSeq=1)
        assert (await alice.expect("error"))["code"] == 30005


@pytest.mark.gen_test
async def test_a_stranger_hears_of_no_read(make_world: MakeWorld) -> None:
    """There is nothing of theirs to read, so the receipt would only be a way to bother them."""
    async with make_world() as world:
        alice = await world.login(1001)
        stranger = await world.login(2001)
        await alice.send("read", peerId=2001)
        await alice.send("read", peerId=2001, msgIds=["m-1"])
        response = await world.fetch(
            "/message/read",
            method="POST",
            body='{"peerId":2001}',
            headers={"Authorization": f"Bearer {world.token(1001)}"},
        )
        assert (response.code, json.loads(response.body)["data"]) == (200, {"count": 0})
        assert await stranger.quiet() == []


@pytest.mark.gen_test
async def test_more_unread_than_one_answer_holds(make_world: MakeWorld) -> None:
    """All of it is listed, any of it can be marked, and a login brings it to the end."""
    count = 10_500
    async with make_world(confirm_interval=0.01, been_here=False) as world:
        for start in range(0, count, 1_500):
            rows = [
                {"msg_id": f"m-{n}", "from_user_id": 1001, "to_user_id": 1002, "content": "x"}
                for n in range(start, start + 1_500)
            ]
            await world.execute(insert(messages).values(rows))

        async def page(skip: int) -> dict[str, Any]:
            answer = await world.get(f"/message/offline?limit=200&skip={skip}", 1002)
            data: dict[str, Any] = json.loads(answer.body)["data"]
            return data

        last = await page(count - 100)
        assert (last["total"], last["hasMore"]) == (count, False)
        assert [each["msgId"] for each in last["list"]] == [
            f"m-{n}" for n in range(count - 100, count)
        ]
        assert (await page(10_000))["hasMore"] is True
        assert await page(count) == {"list": [], "total": count, "hasMore": False}
        alice, bob = await world.login(1001), await world.login(1002)
        # The pong for the last ones has come: their sender is found by the msgId alone.
        seen = [(await bob.expect("chat"))["msgId"] for _ in range(count)]
        assert seen == [f"m-{n}" for n in range(count)]
        await bob.quiet()
        await bob.send("ack", msgIds=["m-0", f"m-{count - 1}"], status="read")
        told = [(await alice.expect("ack", status="read"))["msgId"] for _ in range(2)]
        assert told == ["m-0", f"m-{count - 1}"]
        assert (await page(0))["total"] == count - 2
