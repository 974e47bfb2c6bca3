"""Two nodes on a Redis Cluster, and on a sentinel set: the same chat as on a single Redis."""

import asyncio

import pytest

from skyeim_ws.gateway.app import Gateway
from tests.gateway.conftest import MakeWorld
from tests.long import LONG
from tests.redis_kinds.servers import ClusterServers, SentinelServers
from tests.waiting import until, until_async
from tests.world import User, World

pytestmark = pytest.mark.xdist_group("redis_kinds")

LOAD = 200 if LONG else 20
"""Pairs of messages before, during and after the death of a master."""

MSG_IDS = [f"m{number}" for number in range(10)]


async def second_node(world: World) -> Gateway:
    """Start another node, and wait until both hear each other."""
    other = await world.add_node()
    await until(lambda: other.bus.ready.is_set() and world.gateway.bus.ready.is_set())
    return other


async def drained(user: User) -> list[str]:
    """Return the msgIds of what the user has in its queue, pulling while there is more."""
    found = []
    more = True
    while more:
        more = (await user.expect("offline_messages"))["hasMore"]
        await user.send("ping")
        while (frame := await user.receive())["type"] != "pong":
            found += [frame["data"]["msgId"]] if frame["type"] == "chat" else []
        if more:
            await user.send("offline_pull", limit=100)
    return found


async def opened(world: World, user_id: int, node: Gateway) -> User:
    user = await world.dial(user_id, node=node)
    await user.expect("connected")
    return user


@pytest.mark.gen_test
async def test_private_messages_cross_nodes_and_wait_for_those_who_are_away(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        other = await second_node(world)
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        for msg_id in MSG_IDS:
            await alice.chat(1002, "across", msgId=msg_id)
            await alice.chat(1003, "later", msgId=f"late-{msg_id}")
        assert [(await bob.expect("chat"))["msgId"] for _ in MSG_IDS] == MSG_IDS
        await alice.expect("ack", msgId="m9", status="delivered")
        await until(lambda: not world.gateway.pipeline.waiting + other.pipeline.waiting)
        carol = await opened(world, 1003, other)
        assert await drained(carol) == [f"late-{msg_id}" for msg_id in MSG_IDS]
        await alice.expect("ack", msgId="late-m9", status="delivered")
        await until(lambda: not other.pipeline.waiting)
        for user_id in (1002, 1003):
            assert await world.redis.llen(f"offline:private:{user_id}") == 0


@pytest.mark.gen_test
async def test_group_messages_reach_every_node_in_order_and_raise_the_counter(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        other = await second_node(world)
        alice = await world.login(1001)
        carol = await world.login(1003, node=other)
        for msg_id in MSG_IDS:
            await alice.send("group_chat", groupId="g_demo", content="x", msgId=msg_id)
        seqs = [(await carol.expect("group_chat"))["seq"] for _ in MSG_IDS]
        assert seqs == list(range(1, len(MSG_IDS) + 1))

        async def raised() -> bool:
            return bool(await world.redis.get("group:seq:g_demo") == b"10")

        await until_async(raised)


@pytest.mark.gen_test
async def test_presence_typing_and_kicks_cross_nodes(make_world: MakeWorld) -> None:
    async with make_world() as world:
        other = await second_node(world)
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        await alice.expect("online", userId=1002)
        await bob.send("typing", toUserId=1001)
        await alice.expect("typing", fromUserId=1002)
        await alice.send("presence", userIds=[1002, 1003])
        assert (await alice.expect("presence"))["online"] == [1002]
        moved = await world.login(1002)
        assert await bob.close_code() == 4001
        await alice.chat(1002, "here", msgId="m-1")
        await moved.expect("chat", msgId="m-1")
        await moved.connection.close()
        await alice.expect("offline", userId=1002)
        assert await world.redis.smembers("online:users") == {b"1001"}


@pytest.mark.gen_test
async def test_a_change_of_members_is_seen_by_every_node(make_world: MakeWorld) -> None:
    """At once where Redis tells of changes, within a second where it does not."""
    async with make_world() as world:
        other = await second_node(world)
        await world.add_group("g_two", 1001, 1002)
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        carol = await world.login(1003, node=other)
        await alice.send("group_chat", groupId="g_two", content="x", msgId="before")
        await bob.expect("group_chat", msgId="before")
        await world.invite("g_two", 1001, 1003)
        heard = asyncio.create_task(carol.expect("group_chat", groupId="g_two"))
        number = 0
        while not heard.done():
            await alice.send("group_chat", groupId="g_two", content="x", msgId=f"after{number}")
            await alice.expect("ack", msgId=f"after{number}", status="sent")
            number += 1
            await asyncio.wait({heard}, timeout=0.05)
        assert (await heard)["msgId"].startswith("after")


async def failover(servers: ClusterServers | SentinelServers) -> None:
    """Kill the master that has the queue of user 1002, or the only one."""
    owner = (
        servers.owner("offline:private:1002")
        if isinstance(servers, ClusterServers)
        else servers.master()
    )
    owner.kill()


@pytest.mark.gen_test
async def test_the_death_of_a_master_under_load_loses_nothing(
    make_world: MakeWorld, servers: ClusterServers | SentinelServers
) -> None:
    """Chat goes on without a restart; what was acknowledged is delivered, or in the queue."""
    async with make_world(rate_limit=0) as world:
        other = await second_node(world)
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        pipelines = (world.gateway.pipeline, other.pipeline)
        sent: list[str] = []

        async def talk(count: int) -> None:
            for _ in range(count):
                msg_id = f"m{len(sent)}"
                await alice.persist("chat", msg_id=msg_id, toUserId=1002)
                await alice.persist("chat", msg_id=f"late-{msg_id}", toUserId=1003)
                sent.append(msg_id)

        await talk(LOAD)
        await failover(servers)
        # The outage may come and go while one message is tried again.
        noticed = asyncio.create_task(until(lambda: not all(p.healthy for p in pipelines)))
        while not noticed.done():
            await talk(1)
        await noticed
        await talk(LOAD)
        await until(lambda: all(pipeline.healthy for pipeline in pipelines))
        await until(other.bus.ready.is_set)
        await talk(LOAD)
        seen: dict[str, int] = {}
        while len(seen) < len(sent):
            message = await bob.expect("chat")
            seen.setdefault(message["msgId"], message["id"])
        assert list(seen) == sent
        assert sorted(seen.values()) == list(seen.values())
        carol = await opened(world, 1003, other)
        assert set(await drained(carol)) == {f"late-{msg_id}" for msg_id in sent}
        assert sum(pipeline.dropped for pipeline in pipelines) == 0
