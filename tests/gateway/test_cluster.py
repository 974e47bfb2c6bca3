"""Several nodes on one Redis and one set of services: to a user they are one gateway."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.conftest import MakeWorld, not_on_a_cluster
from tests.store.servers import Server, running_server
from tests.waiting import until
from tests.world import User, world


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A Redis that the test may kill."""
    with running_server() as server:
        yield server


@pytest.mark.gen_test
async def test_a_private_message_crosses_nodes_and_is_confirmed_back(make_world: MakeWorld) -> None:
    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        sent = await alice.chat(1002, "across", msgId="m-1")
        message = await bob.expect("chat")
        assert (message["id"], message["msgId"], message["content"]) == (
            sent["id"],
            "m-1",
            "across",
        )
        assert (await alice.expect("ack", msgId="m-1"))["status"] == "delivered"
        await until(lambda: other.pipeline.waiting == 0)
        assert await world.redis.llen("offline:private:1002") == 0


@pytest.mark.gen_test
async def test_group_messages_reach_every_node_once_and_in_order(make_world: MakeWorld) -> None:
    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        carol = await world.login(1003, node=other)

        async def talk(user: User, name: str) -> None:
            for number in range(50):
                msg_id = f"{name}{number}"
                await user.send("group_chat", groupId="g_demo", content="x", msgId=msg_id)

        # With its first message a node learns where the group is; what is older is for the sync.
        await alice.send("group_chat", groupId="g_demo", content="first")
        for user in (bob, carol):
            assert (await user.expect("group_chat"))["seq"] == 1
        await asyncio.gather(talk(alice, "a"), talk(bob, "b"))
        seqs = [(await carol.expect("group_chat"))["seq"] for _ in range(100)]
        assert seqs == list(range(2, 102))
        assert [(await alice.expect("group_chat"))["msgId"] for _ in range(50)] == [
            f"b{number}" for number in range(50)
        ]


@pytest.mark.gen_test
async def test_a_login_on_another_node_kicks_and_announces_nothing(make_world: MakeWorld) -> None:
    async with make_world() as world:
        other = await world.add_node()
        friend = await world.login(1002)
        first = await world.login(1001)
        await friend.expect("online", userId=1001)
        second = await world.login(1001, node=other)
        assert await first.close_code() == 4001
        assert first.skipped[-1]["type"] == "kicked"
        await second.chat(1002, "here")
        await friend.expect("chat")
        assert "offline" not in {frame["type"] for frame in friend.skipped}
        assert await world.redis.smembers("online:users") == {b"1001", b"1002"}


@pytest.mark.gen_test(timeout=170)
async def test_two_logins_at_once_on_two_nodes_leave_exactly_one(make_world: MakeWorld) -> None:
    async with make_world(rate_limit=0) as world:
        other = await world.add_node()
        hubs = (world.gateway.hub, other.hub)
        for _ in range(30):
            users = await asyncio.gather(world.dial(1001), world.dial(1001, node=other))
            await until(lambda: sum(1001 in hub for hub in hubs) == 1)
            winner = users[0] if 1001 in world.gateway.hub else users[1]
            loser = users[1] if winner is users[0] else users[0]
            assert await loser.close_code() == 4001
            await winner.send("ping")
            await winner.expect("pong")
            await winner.connection.close()
            await until(lambda: not any(1001 in hub for hub in hubs))


@pytest.mark.gen_test
async def test_friends_hear_of_users_on_other_nodes(make_world: MakeWorld) -> None:
    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        await alice.expect("online", userId=1002)
        await bob.send("typing", toUserId=1001)
        await alice.expect("typing", fromUserId=1002)
        await bob.connection.close()
        await alice.expect("offline", userId=1002)


@not_on_a_cluster
@pytest.mark.gen_test
async def test_a_subscription_that_is_cut_comes_back_and_nothing_is_missed(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        await world.redis.client_kill_filter(_type="pubsub")
        await until(lambda: not other.bus.ready.is_set())
        contents = [f"m{number}" for number in range(10)]
        for content in contents:
            await alice.chat(1002, content)
        assert [(await bob.expect("chat"))["content"] for _ in contents] == contents


@pytest.mark.gen_test
async def test_resume_brings_what_came_after_an_id_and_live_messages_behind_it(
    make_world: MakeWorld,
) -> None:
    async with make_world(rate_limit=0) as world:
        alice = await world.login(1001)
        ids = [(await alice.chat(1002, f"m{number}"))["id"] for number in range(250)]
        bob = await world.dial(1002, world.url(1002, resume=str(ids[9])))
        live = [(await alice.chat(1002, f"live{number}"))["id"] for number in range(20)]
        seen = [(await bob.expect("chat"))["id"] for _ in range(240 + 20)]
        assert seen == ids[10:] + live
        client = world.gateway.hub.get(1002)
        assert client is not None
        await until(lambda: not len(client.ledger))
        await until(lambda: not world.gateway.pipeline.waiting)
        # What was resumed has left the queue; what lies before it was not asked for.
        assert await world.redis.llen("offline:private:1002") == 10


@pytest.mark.gen_test
async def test_a_resume_that_is_no_id_is_refused_before_the_upgrade(make_world: MakeWorld) -> None:
    async with make_world() as world:
        response = await world.get(f"/ws?token={world.token(1001)}&resume=latest")
        assert response.code == 400


@pytest.mark.gen_test
async def test_the_newer_of_two_logins_stays_also_if_it_came_while_redis_was_away(
    mortal: Server, tmp_path: Path
) -> None:
    async with world(mortal.socket, tmp_path) as chat:
        other = await chat.add_node()
        older = await chat.login(1001)
        mortal.kill()
        await until(lambda: not other.pipeline.healthy and not chat.gateway.pipeline.healthy)
        newer = await chat.dial(1001, node=other)
        await newer.expect("connected")
        mortal.start()
        assert await older.close_code() == 4001
        await newer.send("ping")
        await newer.expect("pong")
        await until(lambda: 1001 in other.hub and 1001 not in chat.gateway.hub)


@pytest.mark.gen_test
async def test_resume_needs_no_redis(mortal: Server, tmp_path: Path) -> None:
    async with world(mortal.socket, tmp_path) as chat:
        alice = await chat.login(1001)
        ids = [(await alice.chat(1002, f"m{number}"))["id"] for number in range(3)]
        mortal.kill()
        await until(lambda: not chat.gateway.pipeline.healthy)
        bob = await chat.dial(1002, chat.url(1002, resume=str(ids[0])))
        assert [(await bob.expect("chat"))["id"] for _ in ids[1:]] == ids[1:]
