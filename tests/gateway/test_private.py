"""Private messages, end to end."""

import json
import time
import uuid

import pytest
from sqlalchemy import func, select
from websockets.frames import Opcode

from skyeim_ws.contract.names import LONGEST_FRAME, MAX_CONTENT
from skyeim_ws.services.tables import messages
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.waiting import until
from tests.world import World


async def stored(world: World, msg_id: str) -> int:
    """Count the rows with this msgId."""
    [row] = await world.rows(
        select(func.count()).select_from(messages).where(messages.c.msg_id == msg_id)
    )
    return int(row[0])


@pytest.mark.gen_test
async def test_sent_then_the_message_then_delivered(make_world: MakeWorld) -> None:
    async with make_world() as world:
        before = int(time.time())
        alice = await world.login(1001)
        bob = await world.login(1002)
        await alice.send("chat", toUserId=1002, content="hello", msgId="m-1")
        sent = await alice.expect("ack", msgId="m-1")
        assert sent["status"] == "sent"
        assert sent.keys() == {"msgId", "status", "timestamp", "id"}
        message = await bob.expect("chat")
        assert message == {
            "id": sent["id"],
            "msgId": "m-1",
            "fromUserId": 1001,
            "toUserId": 1002,
            "content": "hello",
            "contentType": 1,
            "createdAt": message["createdAt"],
        }
        assert before <= message["createdAt"] <= time.time()
        await bob.send("ack", msgId="m-1", status="delivered")
        delivered = await alice.expect("ack", msgId="m-1")
        assert delivered == {
            "msgId": "m-1",
            "status": "delivered",
            "timestamp": delivered["timestamp"],
        }
        [row] = await world.rows(select(messages).where(messages.c.msg_id == "m-1"))
        assert (row.id, row.from_user_id, row.to_user_id) == (sent["id"], 1001, 1002)
        assert (row.content, row.content_type, row.chat_type, row.status) == ("hello", 1, 1, 0)


@pytest.mark.gen_test
async def test_every_content_type_and_all_of_unicode_arrive_as_sent(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        contents = ["a", "\0\x1f", '"\\/', "你好 🙂 é", "x" * 16384]
        for content_type, content in enumerate(contents, start=1):
            await alice.chat(1002, content, contentType=content_type)
            message = await bob.expect("chat")
            assert (message["contentType"], message["content"]) == (content_type, content)


@pytest.mark.gen_test
async def test_the_longest_legal_message_fits_whatever_its_characters(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        content, mentions = "\U0001f642" * MAX_CONTENT, [2**63 - 1] * 500
        data = {"groupId": "g_demo", "content": content, "msgId": "m" * 64, "atUserIds": mentions}
        frame = json.dumps({"type": "group_chat", "data": data}, ensure_ascii=True)
        assert LONGEST_FRAME - 10_000 < len(frame) < LONGEST_FRAME
        await alice.connection.send(frame)
        assert (await alice.expect("ack"))["status"] == "sent"
        assert (await bob.expect("group_chat"))["content"] == content


@pytest.mark.gen_test
async def test_unknown_fields_are_ignored(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1002, "hello", fromUserId=1003, id=7, createdAt=1, more={"deep": [1]})
        message = await bob.expect("chat")
        assert message["fromUserId"] == 1001
        assert message["id"] != 7
        assert message["createdAt"] > 1
        assert "more" not in message


@pytest.mark.gen_test
async def test_messages_of_one_conversation_arrive_in_the_order_of_their_id(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        for number in range(100):
            await alice.send("chat", toUserId=1002, content="x", msgId=f"m-{number}")
        received = [await bob.expect("chat") for _ in range(100)]
        assert [message["msgId"] for message in received] == [f"m-{n}" for n in range(100)]
        ids = [message["id"] for message in received]
        assert ids == sorted(set(ids))


@pytest.mark.gen_test
async def test_without_a_msg_id_the_gateway_makes_a_time_ordered_uuid(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        sent = await alice.chat(1002, "one")
        assert uuid.UUID(sent["msgId"]).version == 7
        assert (await bob.expect("chat"))["msgId"] == sent["msgId"]
        assert (await alice.chat(1002, "two"))["msgId"] > sent["msgId"]


@pytest.mark.gen_test
async def test_a_retry_after_the_answer_gets_it_again_and_creates_nothing(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        first = await alice.chat(1002, "hello", msgId="m-1")
        await bob.expect("chat")
        second = await alice.chat(1002, "hello", msgId="m-1")
        assert (second["id"], second["status"]) == (first["id"], "sent")
        assert await stored(world, "m-1") == 1
        assert "chat" not in [frame["type"] for frame in await bob.quiet()]


@pytest.mark.gen_test
async def test_a_retry_on_a_new_connection_gets_the_first_answer(make_world: MakeWorld) -> None:
    async with make_world() as world:
        first = await (await world.login(1001)).chat(1003, "hello", msgId="m-1")
        again = await (await world.login(1001)).chat(1003, "hello", msgId="m-1")
        assert again["id"] == first["id"]
        assert await stored(world, "m-1") == 1


@pytest.mark.gen_test
async def test_a_retry_that_the_gateway_has_forgotten_is_answered_from_storage(
    make_world: MakeWorld,
) -> None:
    async with make_world(recent_acks=1) as world:
        alice = await world.login(1001)
        first = await alice.chat(1002, "hello", msgId="m-1")
        await alice.chat(1002, "other", msgId="m-2")
        again = await alice.chat(1002, "hello", msgId="m-1")
        assert again["id"] == first["id"]
        assert await stored(world, "m-1") == 1


@pytest.mark.gen_test
async def test_a_retry_while_the_first_is_under_way_is_answered_too(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await world.stop_services()
        for _ in range(2):
            await alice.send("chat", toUserId=1002, content="hello", msgId="m-1")
        await until(lambda: world.gateway.sending.under_way == 1)
        await alice.quiet()
        await world.start_services()
        acks = [await alice.expect("ack", msgId="m-1", status="sent") for _ in range(2)]
        assert acks[0]["id"] == acks[1]["id"]
        assert await stored(world, "m-1") == 1
        await bob.expect("chat", msgId="m-1")
        assert "chat" not in [frame["type"] for frame in await bob.quiet()]


@pytest.mark.gen_test
async def test_an_answer_finds_a_sender_who_has_reconnected(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await world.stop_services()
        await alice.send("chat", toUserId=1002, content="hello", msgId="m-1")
        await until(lambda: world.gateway.sending.under_way == 1)
        again = await world.login(1001)
        await world.start_services()
        await again.expect("ack", msgId="m-1", status="sent")


@pytest.mark.gen_test
async def test_delivered_follows_the_receivers_ack_and_nothing_before_it(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002) as bob:
            await alice.chat(1002, "hello", msgId="m-1")
            await bob.expect("chat", msgId="m-1")
            ping = await bob.next_ping()
            # It was written, even read, but nobody has said so.
            assert "ack" not in [frame["type"] for frame in await alice.quiet()]
            bob.send("ack", msgId="m-1", status="delivered")
            await alice.expect("ack", msgId="m-1", status="delivered")
            # The pong that would have confirmed it, and another ack, say nothing new.
            bob.send_frame(Opcode.PONG, ping)
            bob.send("ack", msgId="m-1", status="delivered")
            bob.send("ping")
            await bob.expect("pong")
            assert "ack" not in [frame["type"] for frame in await alice.quiet()]


@pytest.mark.gen_test
async def test_delivered_follows_the_pong_that_confirms_the_message(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002) as bob:
            for msg_id in ("m-1", "m-2"):
                await alice.chat(1002, "hello", msgId=msg_id)
                await bob.expect("chat", msgId=msg_id)
            ping = await bob.next_ping()
            bob.send_frame(Opcode.PONG, b"not " + ping)
            bob.send("ping")
            await bob.expect("pong")
            assert "ack" not in [frame["type"] for frame in await alice.quiet()]
            bob.send_frame(Opcode.PONG, ping)
            await alice.expect("ack", msgId="m-1", status="delivered")
            bob.send_frame(Opcode.PONG, await bob.next_ping())
            await alice.expect("ack", msgId="m-2", status="delivered")


@pytest.mark.gen_test
async def test_an_ack_for_what_one_never_got_does_nothing(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, carol = await world.login(1001), await world.login(1003)
        await alice.chat(1002, "hello", msgId="m-1")
        for status in ("delivered", "read"):
            await carol.send("ack", msgId="m-1", status=status)
            await carol.send("ack", msgId="never", status=status)
        await carol.quiet()
        assert [f for f in await alice.quiet() if f["type"] == "ack"] == []
        [row] = await world.rows(select(messages.c.status).where(messages.c.msg_id == "m-1"))
        assert row.status == 0
