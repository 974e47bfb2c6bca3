"""Groups are heard where they have members, and what is missed meanwhile the client is told."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import insert

from skyeim_ws.gateway.app import Gateway
from skyeim_ws.logic import memberships, session
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.services.tables import group_members
from skyeim_ws.store.bus import RedisBus
from skyeim_ws.store.keys import group_channel
from skyeim_ws.store.listener import Listener
from skyeim_ws.store.member_fills import members_key
from tests.gateway.conftest import MakeWorld, not_on_a_cluster
from tests.gateway.deaf import add_node_with_user, deafness
from tests.gateway.masters import cut_subscriptions, hearers
from tests.waiting import until, until_async
from tests.world import User, World


async def say(user: User, group_id: str = "g_demo") -> int:
    """Send a message to a group; return its seq."""
    await user.send("group_chat", groupId=group_id, content="hello")
    seq: int = (await user.expect("ack", status="sent"))["seq"]
    return seq


async def heard_by(world: World, count: int, group_id: str = "g_demo") -> None:
    async def so_many() -> bool:
        return await hearers(world, group_channel(group_id)) == count

    await until_async(so_many)


@pytest.mark.gen_test
async def test_a_group_message_is_heard_by_the_nodes_with_members_alone(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time once; and nobody else's node hears who comes and goes, or is typing."""
    heard: Counter[RedisBus] = Counter()
    message = RedisBus.message

    def counted(self: RedisBus, channel: bytes, data: bytes) -> None:
        heard[self] += b"probe" not in data and data != b"\x91\xa1t"
        message(self, channel, data)

    monkeypatch.setattr(RedisBus, "message", counted)
    async with make_world() as world:
        other, bystander = await world.add_node(), await world.add_node()
        await world.add_group("g_two", 1001, 1002)
        await world.login(1004, node=bystander)
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        await alice.expect("online", userId=1002)
        await say(alice, "g_two")
        await bob.expect("group_chat", seq=1)
        del heard[other.bus]
        for seq in (2, 3, 4):
            await say(alice, "g_two")
            await bob.expect("group_chat", seq=seq)
        await alice.send("typing", groupId="g_two")
        await bob.expect("typing", groupId="g_two")
        assert await hearers(world, group_channel("g_two")) == 2
        assert (heard[other.bus], heard[bystander.bus]) == (4, 0)


@not_on_a_cluster  # one command has the channels of one slot there
@pytest.mark.gen_test
async def test_a_login_storm_takes_few_changes_of_the_subscription(make_world: MakeWorld) -> None:
    async with make_world() as world:
        groups = [f"g_{number}" for number in range(20)]
        for group_id in groups:
            await world.add_group(group_id, 1001, 1002, 1003)
        before = (await world.redis.info("commandstats"))["cmdstat_subscribe"]["calls"]
        await asyncio.gather(*map(world.login, (1001, 1002, 1003)))
        await heard_by(world, 1, groups[-1])
        after = (await world.redis.info("commandstats"))["cmdstat_subscribe"]["calls"]
        assert after - before <= 3


@pytest.mark.gen_test
async def test_a_client_is_connected_when_its_groups_are_heard(make_world: MakeWorld) -> None:
    """So what comes after the sync that it begins then comes to it, and no hint is needed."""
    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        for seq in range(1, 6):
            bob = await world.login(1002, node=other)
            assert await say(alice) == seq
            await bob.expect("group_chat", seq=seq)
            assert "group_behind" not in {frame["type"] for frame in bob.skipped}
            await bob.connection.close()
            await until(lambda: 1002 not in other.hub)


@pytest.mark.gen_test
async def test_what_comes_between_a_login_and_a_late_subscription_is_told(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memberships, session):
        monkeypatch.setattr(module, "HEARD_SECONDS", 0.05)
    joined, known = GroupClient.joined, asyncio.Event()

    async def late(self: GroupClient, user_id: int) -> list[str]:
        if user_id == 1002:
            await known.wait()
        return await joined(self, user_id)

    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        monkeypatch.setattr(GroupClient, "joined", late)
        bob = await world.login(1002, node=other)
        assert await say(alice) == 1
        known.set()
        assert await bob.expect("group_behind") == {"groupId": "g_demo", "seq": 1}
        assert await say(alice) == 2
        await bob.expect("group_chat", seq=2)


@pytest.mark.gen_test
async def test_a_subscription_that_is_confirmed_late_holds_up_no_login(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memberships, session):
        monkeypatch.setattr(module, "HEARD_SECONDS", 0.05)
    change, confirmed = Listener._change, asyncio.Event()  # noqa: SLF001 - it is never slow here

    def late(self: Listener) -> list[tuple[str, ...]]:
        if not confirmed.is_set():
            asyncio.get_running_loop().call_later(0.01, self._due.set)
            return []
        return change(self)

    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001)
        monkeypatch.setattr(Listener, "_change", late)
        bob = await world.login(1002, node=other)
        assert await say(alice) == 1
        confirmed.set()
        assert await bob.expect("group_behind") == {"groupId": "g_demo", "seq": 1}


@pytest.mark.gen_test
async def test_a_node_leaves_a_group_some_time_after_its_last_member_and_comes_back(
    make_world: MakeWorld,
) -> None:
    async with make_world(group_channel_linger=0.2) as world:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(1002, node=other)
        await say(alice)
        await bob.expect("group_chat", seq=1)
        assert await hearers(world, group_channel("g_demo")) == 2
        await bob.connection.close()
        await heard_by(world, 1)
        await say(alice)
        back = await world.login(1002, node=other)
        assert await hearers(world, group_channel("g_demo")) == 2
        synced = await world.get("/message/group/sync?groupId=g_demo&seq=1", user_id=1002)
        assert b'"seq":2' in synced.body
        await say(alice)
        await back.expect("group_chat", seq=3)
        assert [frame["type"] for frame in back.skipped if frame["type"].startswith("group")] == []


@pytest.mark.gen_test
async def test_after_an_outage_of_the_subscription_members_are_told_what_they_lack(
    make_world: MakeWorld,
) -> None:
    """Of the groups where anything came, and of no others."""
    async with make_world() as world:
        await world.add_group("g_quiet", 1001, 1002)
        other = await add_node_with_user(world)
        alice, bob = await world.login(1001), await world.login(1002, node=other)
        for group_id in ("g_demo", "g_quiet"):
            await say(alice, group_id)
            await bob.expect("group_chat", groupId=group_id)
        async with deafness(world, other):
            await heard_by(world, 1)
            assert [await say(alice) for _ in range(2)] == [2, 3]
        assert await bob.expect("group_behind") == {"groupId": "g_demo", "seq": 3}
        await say(alice)
        await bob.expect("group_chat", groupId="g_demo", seq=4)
        await say(alice, "g_quiet")
        await bob.expect("group_chat", groupId="g_quiet", seq=2)
        hints = [frame for frame in bob.skipped if frame["type"] == "group_behind"]
        assert hints == []


async def apart(world: World) -> tuple[User, User, Gateway]:
    """Have 1001, alone in `g_two`, say something there; return it, 1003, and the node of 1003."""
    await world.add_group("g_two", 1001)
    other = await add_node_with_user(world)
    alice, carol = await world.login(1001), await world.login(1003, node=other)
    await say(alice, "g_two")
    return alice, carol, other


@pytest.mark.gen_test
async def test_who_is_invited_on_a_node_that_does_not_hear_the_group_hears_it_then(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, carol, _ = await apart(world)
        await world.invite("g_two", 1001, 1003)
        await carol.expect("inviteMember", groupId="g_two")
        await heard_by(world, 2, "g_two")
        seq = await say(alice, "g_two")
        await carol.expect("group_chat", groupId="g_two", seq=seq)


async def add_member(world: World, group_id: str, user_id: int) -> None:
    """Enter a member into the database; nobody pushes an event of it."""
    await world.execute(insert(group_members).values(group_id=group_id, user_id=user_id))


@pytest.mark.gen_test
async def test_a_member_of_whom_no_event_tells_is_found_in_the_shared_set(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, carol, _ = await apart(world)
        await add_member(world, "g_two", 1003)
        await world.redis.sadd(members_key("g_two"), 1003)
        await heard_by(world, 2, "g_two")
        await carol.expect("group_behind", groupId="g_two", seq=1)
        assert await say(alice, "g_two") == 2
        await carol.expect("group_chat", groupId="g_two", seq=2)


@pytest.mark.gen_test
async def test_a_member_who_came_while_changes_were_not_told_is_found(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        _, carol, _ = await apart(world)
        await add_member(world, "g_two", 1003)
        await cut_subscriptions(world)
        await heard_by(world, 2, "g_two")
        await carol.expect("group_behind", groupId="g_two", seq=1)


@pytest.mark.gen_test
async def test_a_member_who_is_found_while_the_node_is_deaf_is_told_what_was_missed(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        _, carol, other = await apart(world)
        await add_member(world, "g_two", 1003)
        client = other.hub.get(1003)
        assert client is not None
        async with deafness(world, other):
            await until(lambda: "g_two" in session_of(client).group_ids)
        await carol.expect("group_behind", groupId="g_two", seq=1)


@pytest.mark.gen_test
async def test_groups_beyond_the_bound_are_told_of_from_time_to_time(
    make_world: MakeWorld,
) -> None:
    async with make_world(max_group_channels=1, group_channel_linger=0.2) as world:
        await world.add_group("g_two", 1001, 1002)
        other = await world.add_node()
        alice, bob = await world.login(1001), await world.login(1002, node=other)
        told: list[dict[str, Any]] = []
        for group_id in ("g_demo", "g_two"):
            seq = await say(alice, group_id)
            while True:
                frame = await bob.receive()
                if frame["type"] in ("group_chat", "group_behind"):
                    break
            assert frame["data"]["groupId"] == group_id
            assert frame["data"]["seq"] == seq
            told.append(frame)
        assert sorted(frame["type"] for frame in told) == ["group_behind", "group_chat"]
