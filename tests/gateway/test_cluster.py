"""Several nodes on one Redis and one set of services: to a user they are one gateway."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.shared_state import Claim
from skyeim_ws.store.sessions import RedisSessions
from tests.gateway.conftest import MakeWorld
from tests.gateway.masters import cut_subscriptions
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


@pytest.mark.gen_test
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


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.gen_test
async def test_a_login_that_was_taken_and_not_answered_kicks_all_the_same(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Also if it was followed by another on the same node."""
    claim = RedisSessions.claim
    answers: list[Unavailable] = []

    async def unanswered(self: RedisSessions, user_id: int, conn_id: str, limit: int) -> Claim:
        answer = await claim(self, user_id, conn_id, limit)
        if answers:
            raise answers.pop()
        return answer

    monkeypatch.setattr(RedisSessions, "claim", unanswered)
    async with make_world() as world:
        other = await world.add_node()
        await until(other.bus.ready.is_set)
        older = await world.login(1001, node=other)
        answers.append(Unavailable("the answer was lost"))
        await (await world.dial(1001)).expect("connected")
        if again:
            await world.dial(1001)
        assert await older.close_code() == 4001
        await until(lambda: 1001 not in other.hub)


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


@pytest.mark.gen_test
async def test_a_subscription_that_is_cut_comes_back_and_nothing_is_missed(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        await cut_subscriptions(world)
        await until(lambda: not other.bus.ready.is_set())
        contents = [f"m{number}" for number in range(10)]
        for content in contents:
            await alice.chat(1002, content)
        assert [(await bob.expect("chat"))["content"] for _ in contents] == contents


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
