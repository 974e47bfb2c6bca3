"""What operators see of running gateways, and do to them, over Redis: on every kind of Redis."""

import time
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs
from tornado.netutil import bind_sockets
from websockets.exceptions import InvalidStatus

from skyeim_ws import __version__
from skyeim_ws.cli.admin import groups as admin_groups
from skyeim_ws.cli.admin import nodes as admin_nodes
from skyeim_ws.cli.admin import presence as admin_presence
from skyeim_ws.cli.admin import users as admin_users
from skyeim_ws.cli.admin import whereabouts as admin_whereabouts
from skyeim_ws.cli.admin.calls import AdminError, connected
from skyeim_ws.cli.admin.cluster import gateways
from skyeim_ws.gateway.app import Gateway, gateway
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store import records
from skyeim_ws.store.keys import NODES_KEY, queue_key, session_key
from skyeim_ws.store.operators import Operators
from skyeim_ws.store.presence import USERS_KEY
from tests.gateway.conftest import MakeWorld
from tests.waiting import until, until_async
from tests.world import World

NEXT_FORMAT = records.FORMAT + 1


@asynccontextmanager
async def operator(world: World) -> AsyncIterator[Operators]:
    await until(world.gateway.bus.ready.is_set)
    async with gateways(world.config) as operators:
        yield operators


def user(user_id: int, **more: Any) -> Namespace:
    return Namespace(user=user_id, **more)


def names(data: Any) -> list[str]:
    return [finding["name"] for finding in data["findings"]]


async def found(operators: Operators, user_id: int, name: str) -> dict[str, Any]:
    """Return what is shown of a user once it has this finding."""
    shown: dict[str, Any] = {}

    async def has_it() -> bool:
        shown.update((await admin_users.show(operators, user(user_id))).data)
        return name in names(shown)

    await until_async(has_it)
    return shown


async def forgotten(world: World, operators: Operators, user_id: int) -> None:
    """Take a user out of those who are online, when its login has entered it for the last time."""

    async def introduced() -> bool:
        return user_id in await operators.online_members("g_demo")

    await until_async(introduced)
    await world.redis.srem(USERS_KEY, user_id)


@pytest.mark.gen_test
async def test_a_user_is_shown_wherever_it_is_connected(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        other = await world.add_node()
        await world.login(1002, url=world.url(1002, other, device="phone"))
        shown = await found(operators, 1002, "online")
        assert shown["connection"]["device"] == "phone"
        assert shown["connection"]["state"] == "open"
        assert (shown["online"], shown["listedByNode"], shown["queued"]) == (True, True, 0)
        assert names(shown) == ["online"]
        answer = await admin_users.show(operators, user(1002))
        assert "online: connected at test-gateway-" in answer.text


@pytest.mark.gen_test
async def test_what_waits_for_a_user_who_is_away_is_shown_without_its_content(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world, operator(world) as operators:
        alice = await world.login(1001)
        ack = await alice.chat(1002, "for nobody else's eyes", msgId="m-1")
        shown = await found(operators, 1002, "waits_in_queue")
        assert names(shown) == ["offline", "waits_in_queue"]
        await world.redis.rpush(queue_key(1002), b"no message")
        answer = await admin_users.queue(operators, user(1002, limit=20))
        messages: Any = answer.data["messages"]
        [message] = messages
        assert message == {
            "id": ack["id"],
            "msgId": "m-1",
            "fromUserId": 1001,
            "createdAt": message["createdAt"],
        }
        assert abs(message["createdAt"] - time.time()) < 3600
        assert (answer.data["total"], answer.data["unreadable"]) == (2, 1)
        assert "eyes" not in answer.text
        assert (await admin_users.queue(operators, user(1003, limit=20))).text == (
            "nothing waits for 1003"
        )


@pytest.mark.gen_test
async def test_a_wrong_online_count_is_found_by_its_cause(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        await world.redis.sadd(USERS_KEY, 1002)
        shown = (await admin_users.show(operators, user(1002))).data
        assert names(shown) == ["offline", "shown_online_wrongly"]
        [node] = await operators.nodes()
        await world.redis.set(session_key(1003), f"{node.node} 0123")
        shown = (await admin_users.show(operators, user(1003))).data
        assert names(shown) == ["session_without_connection"]
        await world.login(1001)
        await found(operators, 1001, "online")
        await forgotten(world, operators, 1001)
        shown = (await admin_users.show(operators, user(1001))).data
        assert names(shown) == ["online", "shown_offline_wrongly"]


@pytest.mark.gen_test
async def test_who_is_counted_wrongly_is_named_by_the_cause(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        await world.login(1001)
        await found(operators, 1001, "online")
        # Written once more, when the groups are known.
        await until_async(lambda: world.redis.sismember("group:online:g_demo", "1001"))
        right = await admin_presence.check(operators, Namespace())
        assert right.text == ("shown online: 1 user, connected: 1\n\nnobody is counted wrongly")
        await world.redis.sadd(USERS_KEY, 1002, 1003)
        await world.redis.set(session_key(1003), "dead-0123 0456")
        await forgotten(world, operators, 1001)
        assert (await admin_presence.check(operators, Namespace())).data == {
            "shownOnline": 2,
            "connected": 1,
            "silent": [],
            "shown_online_without_session": [1002],
            "shown_online_by_dead_session": [1003],
            "shown_offline_wrongly": [1001],
        }


@pytest.mark.gen_test
async def test_a_user_of_a_node_that_is_silent(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        await world.redis.set(session_key(1002), "dead-0123 0456")
        shown = (await admin_users.show(operators, user(1002))).data
        assert names(shown) == ["node_silent"]
        with pytest.raises(AdminError, match=r"the node dead-0123 did not answer within 3 s"):
            await admin_users.kick(operators, user(1002))


@pytest.mark.gen_test
async def test_a_kicked_user_is_told_why_and_goes_offline(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, url=world.url(1002, other))
        await alice.expect("online", userId=1002)
        done = await admin_users.kick(operators, user(1002))
        assert done.text.startswith("1002 was signed out of test-gateway-")
        assert await bob.close_code() == 4001
        assert bob.skipped[-1] == {
            "type": "kicked",
            "data": {"reason": "an operator has ended this session"},
        }
        await alice.expect("offline", userId=1002)
        shown = await found(operators, 1002, "offline")
        assert names(shown) == ["offline"]
        assert shown["cleanEnd"]
        with pytest.raises(AdminError, match="1002 is not connected"):
            await admin_users.kick(operators, user(1002))


@pytest.mark.gen_test
async def test_who_is_disconnected_may_come_back(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        bob = await world.login(1002)
        await found(operators, 1002, "online")
        await admin_users.disconnect(operators, user(1002))
        assert await bob.close_code() == 1001
        assert (bob.connection.close_reason or "").startswith("retry_after_ms=")


@pytest.mark.gen_test
async def test_all_nodes_are_listed_and_each_is_shown(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        await world.add_node()
        await world.login(1001)

        async def ready() -> bool:
            nodes: Any = (await admin_nodes.list_nodes(operators, Namespace())).data["nodes"]
            return [node["state"] for node in nodes] == ["ready", "ready"]

        await until_async(ready)
        await world.redis.zadd(NODES_KEY, {"dead-0123": 1})
        listed = await admin_nodes.list_nodes(operators, Namespace())
        shown: Any = listed.data["nodes"]
        assert [node["state"] for node in shown] == ["ready", "ready", "no answer"]
        assert sorted(node["connections"] for node in shown[:2]) == [0, 1]
        assert [node["name"] for node in shown] == ["test-gateway", "test-gateway", ""]
        # One that has left no record is of a version that wrote none.
        assert [node["format"] for node in shown] == [records.FORMAT, records.FORMAT, 1]
        assert "no answer" in listed.text
        one = await admin_nodes.show(operators, Namespace(node=shown[0]["node"]))
        assert one.data["gauges"]["redis_healthy"] == 1  # type: ignore[index]
        with pytest.raises(AdminError, match="may be several nodes"):
            await admin_nodes.show(operators, Namespace(node="test-gateway"))
        with pytest.raises(AdminError, match="no node is called 'nobody'"):
            await admin_nodes.show(operators, Namespace(node="nobody"))


@pytest.mark.gen_test
async def test_a_node_is_drained_and_filled_again(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        [first] = await operators.nodes()

        def drain(*, cancel: bool = False, force: bool = False) -> Any:
            words = Namespace(node=first.node, cancel=cancel, force=force)
            return admin_nodes.drain(operators, words)

        with pytest.raises(AdminError, match="no other gateway takes the clients"):
            await drain()
        await world.add_node()
        alice = await world.login(1001)
        answer = await drain()
        assert answer.data["clients"] == 1
        assert await alice.close_code() == 1001
        nodes: Any = (await admin_nodes.list_nodes(operators, Namespace())).data["nodes"]
        states = {node["node"]: node["state"] for node in nodes}
        assert states[first.node] == "draining"
        with pytest.raises(InvalidStatus):
            await world.dial(1001)
        await drain(cancel=True)
        await world.login(1001)


@pytest.mark.gen_test
async def test_everybody_is_told_of_a_maintenance(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, url=world.url(1002, other))
        await found(operators, 1002, "online")
        words = Namespace(message="Back soon", begins=600.0, lasts=3600.0)
        told = await admin_nodes.broadcast(operators, words)
        assert told.data["users"] == 2
        for each in (alice, bob):
            notice = await each.expect("maintenance", message="Back soon")
            assert notice["endsAt"] - notice["startsAt"] == 3600
        await admin_nodes.broadcast(operators, Namespace(message="Now", begins=None, lasts=None))
        assert await alice.expect("maintenance") == {"message": "Now"}


@pytest.mark.gen_test
async def test_the_members_who_are_online(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        await world.login(1001)

        async def shown() -> set[int]:
            async with connected([world.service_address]) as channel:
                answer = await admin_groups.members_online(
                    channel, operators, Namespace(group="g_demo")
                )
            seats: Any = answer.data["members"]
            return {seat["userId"] for seat in seats}

        async def is_alice() -> bool:
            return await shown() == {1001}

        await until_async(is_alice)


async def shown_message(world: World, operators: Operators, msg_id: str, **named: Any) -> list[str]:
    """Return the names of what is found of a message."""
    arguments = Namespace(**({"user": None, "peer": None, "group": None} | named), msg_id=msg_id)
    async with connected([world.service_address]) as channel:
        answer = await admin_whereabouts.show(channel, operators, arguments)
    message: Any = answer.data["message"]
    assert message["msgId"] == msg_id
    assert "content" not in message
    return names(answer.data)


@pytest.mark.gen_test
async def test_a_message_is_followed_until_it_is_read(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        alice = await world.login(1001)
        await alice.chat(1002, "hello", msgId="m-1")
        assert (await shown_message(world, operators, "m-1"))[:2] == ["queued", "offline"]
        bob = await world.login(1002, url=world.url(1002, confirm="ack"))
        await bob.expect("chat", msgId="m-1")
        await found(operators, 1002, "online")
        assert (await shown_message(world, operators, "m-1"))[:2] == ["not_confirmed", "online"]
        await bob.send("ack", msgId="m-1", status="delivered")
        await alice.expect("ack", msgId="m-1", status="delivered")

        async def confirmed() -> bool:
            return (await shown_message(world, operators, "m-1"))[0] == "confirmed"

        await until_async(confirmed)
        await bob.send("read", peerId=1001)
        await alice.expect("read", userId=1002)
        assert await shown_message(world, operators, "m-1") == ["read"]
        assert await shown_message(world, operators, "m-1", user=1001, peer=1002) == ["read"]
        await alice.send("group_chat", groupId="g_demo", content="all", msgId="m-2")
        await alice.expect("ack", msgId="m-2", status="sent")
        assert await shown_message(world, operators, "m-2") == ["stored_in_group"]
        with pytest.raises(AdminError, match="no message with this msgId is stored"):
            await shown_message(world, operators, "m-3")
        with pytest.raises(AdminError, match="among the last 1 of this conversation"):
            await shown_message(world, operators, "m-3", user=1001, group="g_demo")
        with pytest.raises(AdminError, match="--peer or --group"):
            await shown_message(world, operators, "m-3", user=1001)


@pytest.mark.gen_test
async def test_services_that_find_no_message_say_what_they_need(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    async with make_world() as world, operator(world) as operators:
        server = grpc.aio.server()
        address = f"unix:{tmp_path}/other.sock"
        server.add_insecure_port(address)
        await server.start()
        arguments = Namespace(msg_id="m", user=None, peer=None, group=None)
        async with connected([address]) as channel:
            with pytest.raises(AdminError, match="with --user, and --peer or --group"):
                await admin_whereabouts.show(channel, operators, arguments)
        await server.stop(None)


@pytest.mark.gen_test
async def test_an_order_that_a_node_does_not_know_is_answered(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        [seen] = await operators.nodes()
        answers = await operators.order([seen.node], "dance", {}, 5.0)
        assert "does not know" in answers[seen.node]["error"]
        answers = await operators.order([seen.node], "user.kick", {}, 5.0)
        assert "is not understood" in answers[seen.node]["error"]


def with_format(number: int, oldest: int) -> bytes:
    return records.encode(records.NodeRecord(version="9.9.9", format=number, oldest_format=oldest))


async def claim_to_run(world: World, node: str, record: bytes) -> None:
    """Write what a living node of another version writes."""
    seconds, micros = await world.redis.time()
    await world.redis.zadd(NODES_KEY, {node: seconds * 1000 + micros // 1000 + 600_000})
    await world.redis.hset(records.RECORDS_KEY, node, record)


@pytest.mark.gen_test
async def test_a_node_does_not_join_others_of_an_unknown_format(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await claim_to_run(world, "newer-0123", with_format(NEXT_FORMAT, NEXT_FORMAT))
        listeners = bind_sockets(0, "127.0.0.1")
        with capture_logs() as logs, pytest.raises(Unavailable) as refused:
            async with gateway(world.config, world.backends, listeners):
                pass
        for listener in listeners:
            listener.close()
        assert str(refused.value) == (
            f"the node newer-0123 (version 9.9.9) uses the channel format {NEXT_FORMAT}, which "
            f"this version {__version__} does not know: "
            "start the version of the others, or stop them first"
        )
        [line] = [each for each in logs if each["event"] == "node_format_unknown"]
        assert (line["node"], line["format"]) == ("newer-0123", NEXT_FORMAT)
        assert [each for each in logs if each["log_level"] == "error"] == [line]
        assert len(await world.redis.zrange(NODES_KEY, 0, -1)) == 2
        # The one that was here before goes on.
        assert not world.gateway.failed.is_set()


@pytest.mark.gen_test
async def test_a_node_joins_a_newer_one_that_knows_its_format(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await claim_to_run(world, "newer-0123", with_format(NEXT_FORMAT, records.FORMAT))
        joined: Gateway = await world.add_node()
        assert joined.bus.ready.is_set()


@pytest.mark.gen_test
async def test_a_dead_node_of_another_format_keeps_nobody_out(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.redis.zadd(NODES_KEY, {"dead-0123": 1})
        unknown = with_format(NEXT_FORMAT, NEXT_FORMAT)
        await world.redis.hset(records.RECORDS_KEY, "dead-0123", unknown)
        await world.add_node()
