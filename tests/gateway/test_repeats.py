"""A msgId opens no way to anyone: what it brings is what was stored under it, or nothing."""

import pytest

from skyeim_ws.gateway.app import Gateway
from tests.gateway.conftest import MakeWorld
from tests.gateway.test_failures import failure
from tests.world import User, World

STRANGER = 2001
FOREIGN = "g_foreign"


async def another_node(world: World, *, batches: bool) -> Gateway:
    """Start a node that has answered nothing yet; its services may know no batches."""
    node = await world.add_node()
    node.writer.batching = batches
    return node


async def nothing_came(*users: User) -> None:
    for user in users:
        frames = await user.quiet()
        assert [frame for frame in frames if frame["type"] in ("chat", "group_chat")] == []


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.gen_test
async def test_a_used_msg_id_reaches_neither_strangers_nor_foreign_groups(
    make_world: MakeWorld, batches: bool
) -> None:
    async with make_world() as world:
        await world.add_group(FOREIGN, STRANGER, 1002)
        alice, stranger = await world.login(1001), await world.login(STRANGER)
        await alice.chat(1002, "to a friend", msgId="m-1")
        await alice.send("group_chat", groupId="g_demo", content="to us", msgId="m-2")
        await alice.expect("ack", status="sent", msgId="m-2")
        await alice.connection.close()
        node = await another_node(world, batches=batches)
        alice = await world.login(1001, node=node)
        carol = await world.login(1003, node=node)
        for msg_id in ("m-1", "m-2"):
            for receiver in (STRANGER, 1003):
                await alice.send("chat", toUserId=receiver, content="forged", msgId=msg_id)
                await failure(alice, "msg_id_conflict", 30012, msg_id)
            await alice.send(
                "group_chat", groupId=FOREIGN, content="forged", msgId=msg_id, atUserIds=[-1]
            )
            await failure(alice, "msg_id_conflict", 30012, msg_id)
        await nothing_came(stranger, carol)
        for user_id in (STRANGER, 1003):
            assert await world.redis.llen(f"offline:private:{user_id}") == 0


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.gen_test
async def test_a_retry_on_another_node_brings_what_is_stored(
    make_world: MakeWorld, batches: bool
) -> None:
    """The first node may have died before it delivered, so the message is delivered again."""
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        first = await alice.chat(1002, "stored", msgId="m-1")
        await alice.send(
            "group_chat", groupId="g_demo", content="stored", msgId="m-2", atUserIds=[1002]
        )
        second = await alice.expect("ack", status="sent", msgId="m-2")
        await bob.expect("chat", content="stored")
        await bob.expect("group_chat", content="stored")
        await alice.connection.close()
        await bob.connection.close()
        node = await another_node(world, batches=batches)
        alice, bob = await world.login(1001, node=node), await world.login(1002, node=node)
        again = await alice.chat(1002, "changed", contentType=5, msgId="m-1")
        assert again["id"] == first["id"]
        chat = await bob.expect("chat", msgId="m-1")
        assert (chat["content"], chat["contentType"]) == ("stored", 1)
        await alice.send(
            "group_chat", groupId="g_demo", content="changed", msgId="m-2", atUserIds=[1003]
        )
        again = await alice.expect("ack", status="sent", msgId="m-2")
        assert (again["id"], again["seq"]) == (second["id"], second["seq"])
        group_chat = await bob.expect("group_chat", msgId="m-2")
        assert (group_chat["content"], group_chat["atUserIds"]) == ("stored", [1002])


@pytest.mark.gen_test
async def test_a_msg_id_that_was_just_answered_is_a_conflict_for_another_receiver(
    make_world: MakeWorld,
) -> None:
    """Told from memory, without the services."""
    async with make_world() as world:
        alice, carol = await world.login(1001), await world.login(1003)
        await alice.chat(1002, "to a friend", msgId="m-1")
        await world.stop_services()
        await alice.send("chat", toUserId=1003, content="again", msgId="m-1")
        await failure(alice, "msg_id_conflict", 30012, "m-1")
        await alice.send("group_chat", groupId="g_demo", content="again", msgId="m-1")
        await failure(alice, "msg_id_conflict", 30012, "m-1")
        await nothing_came(carol)


@pytest.mark.gen_test
async def test_of_two_uses_of_a_msg_id_at_once_the_first_counts(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await alice.send("chat", toUserId=1002, content="first", msgId="m-1")
        await alice.send("chat", toUserId=1003, content="second", msgId="m-1")
        await alice.send("group_chat", groupId="g_demo", content="third", msgId="m-1")
        statuses = sorted(
            [(await alice.expect("ack", msgId="m-1")).get("reason", "sent") for _ in range(3)]
        )
        assert statuses == ["msg_id_conflict", "msg_id_conflict", "sent"]
        await bob.expect("chat", content="first")
        await nothing_came(carol)
