"""Several nodes on one Redis and one set of services: to a user they are one gateway."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyeim_ws.logic import catch_up, session
from skyeim_ws.logic.cluster import Cluster
from tests.gateway.conftest import MakeWorld, not_on_a_cluster
from tests.gateway.raw import raw_user
from tests.store.servers import Server, running_server, until_async
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
        # What was resumed has left the queue; what lies before it comes when it is asked for.
        assert await world.redis.llen("offline:private:1002") == 10
        await bob.send("offline_pull", limit=100)
        await bob.expect("offline_messages", pushCount=10, hasMore=False)
        assert [(await bob.expect("chat"))["id"] for _ in range(10)] == ids[:10]


@pytest.mark.gen_test
async def test_resume_after_a_death_brings_also_what_is_unread_below_the_id(
    make_world: MakeWorld,
) -> None:
    """What died with a node may be older than what has come over another node since."""
    async with make_world(rate_limit=0) as world:
        alice = await world.login(1001)
        ids = [(await alice.chat(1002, f"m{number}"))["id"] for number in range(260)]
        await world.redis.delete("offline:private:1002")  # they were in the hands of the dead node
        missed = "{offline:private:1002}:missed"
        await world.redis.set(missed, "a mark")

        bob = await world.dial(1002, world.url(1002, resume=str(ids[149])))
        seen = [(await bob.expect("chat"))["id"] for _ in ids]
        assert seen == ids

        async def forgotten() -> bool:
            return not await world.redis.exists(missed)

        await until_async(forgotten)
        await alice.chat(1002, "live")
        assert (await bob.expect("chat"))["content"] == "live"


@pytest.mark.gen_test
async def test_what_is_missed_is_brought_once_whatever_is_read(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More is unread than is kept of one look at it, and some of it was read."""
    monkeypatch.setattr(catch_up, "_HELD", 120)
    async with make_world(rate_limit=0) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        ids = [(await alice.chat(1002, "x", msgId=f"m{n}"))["id"] for n in range(260)]
        await bob.send("read", peerId=1001, msgIds=[f"m{n}" for n in range(0, 100, 2)])
        await alice.expect("read", userId=1002)
        client = world.gateway.hub.get(1002)
        assert client is not None
        await until(lambda: not len(client.ledger))
        await bob.connection.close()
        await until(lambda: 1002 not in world.gateway.hub)
        await world.redis.set("{offline:private:1002}:missed", "a mark")

        bob = await world.dial(1002)
        unread = ids[1:100:2] + ids[100:]
        assert [(await bob.expect("chat"))["id"] for _ in unread] == unread
        assert "chat" not in {frame["type"] for frame in await bob.quiet()}


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
async def test_after_an_outage_what_the_older_of_two_logins_holds_comes_before_what_is_live(
    mortal: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kicks: list[tuple[Any, ...]] = []
    kicked, reclaim = Cluster.kicked, Cluster.reclaim
    monkeypatch.setattr(session, "_HANDOVER_SECONDS", 20.0)
    async with world(mortal.socket, tmp_path) as chat:
        other = await chat.add_node()
        alice = await chat.login(1001)
        async with raw_user(chat, 1002) as older:
            await older.expect("offline_messages")
            await until(lambda: chat.gateway.sessions._delivery.is_here(1002))
            mortal.kill()
            await until(lambda: not other.pipeline.healthy and not chat.gateway.pipeline.healthy)
            newer = await chat.dial(1002, node=other)
            await newer.expect("offline_messages")
            client = other.hub.get(1002)
            assert client is not None
            progress = other.sessions._catch_up._under_way
            await until(lambda: client not in progress)
            await alice.chat(1002, "held by the older one", msgId="m-1")
            await older.expect("chat", msgId="m-1")
            # The node of the older one takes its time.
            monkeypatch.setattr(
                Cluster,
                "kicked",
                lambda *call: kicks.append(call) if 1002 in call else kicked(*call),
            )
            monkeypatch.setattr(
                Cluster, "reclaim", lambda self: self._hub is other.hub and reclaim(self)
            )
            mortal.start()
            await until(lambda: bool(kicks))
            again = await chat.login(1001, node=other)
            await again.chat(1002, "live", msgId="m-2")
            await until(lambda: client in progress and "m-2" in progress[client].held)
            for call in kicks:
                kicked(*call)
            seen = [(await newer.expect("chat"))["msgId"] for _ in range(2)]
            assert seen == ["m-1", "m-2"]


@pytest.mark.gen_test
async def test_resume_needs_no_redis(mortal: Server, tmp_path: Path) -> None:
    async with world(mortal.socket, tmp_path) as chat:
        alice = await chat.login(1001)
        ids = [(await alice.chat(1002, f"m{number}"))["id"] for number in range(3)]
        mortal.kill()
        await until(lambda: not chat.gateway.pipeline.healthy)
        bob = await chat.dial(1002, chat.url(1002, resume=str(ids[0])))
        assert [(await bob.expect("chat"))["id"] for _ in ids[1:]] == ids[1:]
