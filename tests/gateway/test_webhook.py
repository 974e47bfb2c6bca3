"""A push service is told of messages for users who are away, whichever node had them."""

from collections.abc import Mapping
from typing import Any

import pytest

from skyeim_ws.config.webhook import OfflineConf, WebhookConf
from skyeim_ws.store.keys import NODES_KEY, session_key
from tests.gateway.conftest import MakeWorld
from tests.waiting import DEADLINE, until
from tests.webhook.receiver import SECRET, Receiver, receiving


def told(receiver: Receiver, **more: Any) -> Mapping[str, Any]:
    """The settings of a gateway that tells this receiver."""
    webhook = WebhookConf(url=receiver.url, secret=SECRET, **more)
    return {"offline": OfflineConf(webhook=webhook)}


@pytest.mark.gen_test
async def test_only_who_is_away_is_told_of(make_world: MakeWorld) -> None:
    async with receiving() as receiver:
        async with make_world(settings=told(receiver)) as world:
            alice, bob = await world.login(1001), await world.login(1002)
            await alice.chat(1002, "hello", msgId="here")
            await bob.expect("chat", msgId="here")
            ack = await alice.chat(1003, "hello", msgId="away")
            await until(lambda: receiver.taken)
        [notice] = receiver.taken
        assert notice.pop("id")
        assert 0 <= ack["timestamp"] - notice["message"].pop("createdAt") < DEADLINE
        assert notice == {
            "userId": 1003,
            "kind": "private",
            "message": {"id": ack["id"], "msgId": "away", "fromUserId": 1001, "contentType": 1},
        }


@pytest.mark.gen_test
async def test_what_a_connection_leaves_unconfirmed_is_told_of(make_world: MakeWorld) -> None:
    async with receiving() as receiver:
        async with make_world(settings=told(receiver)) as world:
            alice = await world.login(1001)
            bob = await world.login(1002, url=world.url(1002, confirm="ack"))
            await alice.chat(1002, "hello", msgId="m")
            await bob.expect("chat", msgId="m")
            await bob.connection.close()
            await until(lambda: receiver.taken)
        assert receiver.told == [(1002, "m")]


@pytest.mark.gen_test
async def test_a_service_that_is_away_holds_up_no_message(make_world: MakeWorld) -> None:
    async with receiving() as receiver:
        port = receiver.port
    async with make_world(settings=told(receiver)) as world:
        alice = await world.login(1001)
        for number in range(20):
            await alice.chat(1003, "hello", msgId=f"m{number}")
        async with receiving(port) as back:
            await until(lambda: len(back.taken) >= 20)
    assert {msg_id for _, msg_id in back.told} == {f"m{number}" for number in range(20)}


@pytest.mark.gen_test
async def test_who_was_on_a_dead_node_is_told_of_too(make_world: MakeWorld) -> None:
    async with receiving() as receiver:
        timing = {"node_renew_interval": 0.05, "node_dead_after": 0.5}
        async with make_world(settings=told(receiver), **timing) as world:
            await world.redis.set(session_key(1002), "dead c1")
            await world.redis.hset("ws:sessions:dead", "1002", '["c1"]')
            await world.redis.zadd(NODES_KEY, {"dead": 1})
            await until(lambda: receiver.taken)
        assert receiver.told == [(1002, "missed")]


@pytest.mark.gen_test
async def test_members_who_are_on_no_node_are_told_of_group_messages(
    make_world: MakeWorld,
) -> None:
    async with receiving() as receiver:
        async with make_world(settings=told(receiver, content=True)) as world:
            await world.add_group("g", 1001, 1002, 1003, 1004, 1005)
            alice = await world.login(1001)
            bob = await world.login(1002)
            await world.login(1003, node=await world.add_node())
            await alice.send(
                "group_chat", groupId="g", content="hello", msgId="m", atUserIds=[1004]
            )
            ack = await alice.expect("ack", status="sent")
            message = await bob.expect("group_chat", msgId="m")
            await until(lambda: receiver.taken)
        [notice] = receiver.taken
        assert notice.pop("id")
        assert notice["message"].pop("createdAt") == message["createdAt"]
        assert notice == {
            "userIds": [1004, 1005],
            "kind": "group",
            "message": {
                "id": ack["id"],
                "msgId": "m",
                "fromUserId": 1001,
                "contentType": 1,
                "content": "hello",
                "groupId": "g",
                "seq": ack["seq"],
                "atUserIds": [1004],
            },
        }


@pytest.mark.gen_test
async def test_a_gateway_that_stops_tells_of_its_last_group_messages(
    make_world: MakeWorld,
) -> None:
    async with receiving() as receiver:
        async with make_world(settings=told(receiver)) as world:
            alice = await world.login(1001)
            await alice.send("group_chat", groupId="g_demo", content="hello", msgId="last")
            await alice.expect("ack", status="sent")
        async with make_world(settings=told(receiver)):
            await until(lambda: (1003, "last") in receiver.told)


@pytest.mark.gen_test
async def test_groups_may_be_left_out(make_world: MakeWorld) -> None:
    async with receiving() as receiver:
        async with make_world(settings=told(receiver, groups=False)) as world:
            alice = await world.login(1001)
            await alice.send("group_chat", groupId="g_demo", content="hello", msgId="g")
            await alice.expect("ack", status="sent")
            await alice.chat(1003, "hello", msgId="p")
            await until(lambda: receiver.taken)
        async with make_world(settings=told(receiver, groups=False)):
            pass
        assert receiver.told == [(1003, "p")]
