"""What users see of each other: who comes and goes, who is online, who is typing."""

import time

import pytest
from sqlalchemy import delete, func, select, update
from websockets.asyncio.client import connect

from skyeim_ws.config.tree import ShutdownConf
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.services.tables import BLOCKED, friends, messages
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.waiting import until, until_async
from tests.world import User, World


async def users_online(world: World, key: str = "online:users") -> set[int]:
    """Return the user ids of a set in Redis."""
    return set(map(int, await world.redis.smembers(key)))


async def online_becomes(world: World, wanted: set[int], key: str = "online:users") -> None:
    """Wait until Redis says so."""

    async def reached() -> bool:
        return await users_online(world, key) == wanted

    await until_async(reached)


async def block(world: World, user_id: int, friend_id: int) -> None:
    """Let a user block a friend."""
    await world.execute(
        update(friends)
        .where(friends.c.user_id == user_id, friends.c.friend_id == friend_id)
        .values(status=BLOCKED)
    )


async def kinds(user: User) -> list[str]:
    """Return the types of what has come to the user."""
    return [frame["type"] for frame in await user.quiet()]


@pytest.mark.gen_test
async def test_friends_are_told_who_comes_and_goes(make_world: MakeWorld) -> None:
    async with make_world() as world:
        before = int(time.time())
        alice, dave = await world.login(1001), await world.login(1004)
        bob = await world.login(1002)
        online = await alice.expect("online")
        assert online == {"userId": 1002, "timestamp": online["timestamp"]}
        assert before <= online["timestamp"] <= time.time()
        await bob.connection.close()
        offline = await alice.expect("offline")
        assert offline == {"userId": 1002, "timestamp": offline["timestamp"]}
        # A stranger is told nothing.
        assert await kinds(dave) == []


@pytest.mark.gen_test
async def test_a_connection_that_is_cut_is_offline_too(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002) as bob:
            await alice.expect("online", userId=1002)
            await bob.cut()
            await alice.expect("offline", userId=1002)


@pytest.mark.gen_test
async def test_who_is_blocked_is_told_nothing(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await block(world, 1002, 1001)
        alice, carol = await world.login(1001), await world.login(1003)
        bob = await world.login(1002)
        await carol.expect("online", userId=1002)
        await bob.connection.close()
        await carol.expect("offline", userId=1002)
        # One fan-out serves all friends, so alice would have it by now.
        told = [frame["data"]["userId"] for frame in await alice.quiet()]
        assert 1002 not in told


@pytest.mark.gen_test
async def test_a_newer_login_kicks_and_nobody_is_told_offline(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        first = await world.login(1002)
        await alice.expect("online", userId=1002)
        second = await world.login(1002)
        assert await first.close_code() == 4001
        assert [frame["type"] for frame in first.skipped][-1] == "kicked"
        assert await users_online(world) == {1001, 1002}
        # The place is the newer one's, for what comes and for what is to be told.
        await alice.chat(1002, "hello")
        await second.expect("chat")
        await second.connection.close()
        await alice.expect("offline", userId=1002)
        told = [frame["type"] for frame in alice.skipped]
        assert "offline" not in told
        assert "online" not in told
        await online_becomes(world, {1001})


@pytest.mark.gen_test
async def test_the_online_count_is_over_all_nodes(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.redis.sadd("online:users", 5001, 5002)
        alice = await world.dial(1001)
        assert (await alice.expect("connected"))["onlineCount"] == 3


@pytest.mark.gen_test
async def test_redis_says_who_is_online_and_in_which_groups(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await world.login(1004)
        await online_becomes(world, {1001, 1004})
        await online_becomes(world, {1001}, "group:online:g_demo")
        await alice.connection.close()
        await online_becomes(world, {1004})
        await online_becomes(world, set(), "group:online:g_demo")


@pytest.mark.gen_test
async def test_a_stop_takes_everyone_out_of_redis(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for user_id in (1001, 1002, 1003):
            await world.login(user_id)
        await online_becomes(world, {1001, 1002, 1003}, "group:online:g_demo")
        await world.gateway.drain.stop(ShutdownConf(wrap_up_time=0, wait_time=5))
        await online_becomes(world, set())
        await online_becomes(world, set(), "group:online:g_demo")


@pytest.mark.gen_test
async def test_presence_tells_which_friends_are_online(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, _, _ = [await world.login(user_id) for user_id in (1001, 1002, 1004)]
        await world.redis.sadd("online:users", 1003)  # on another node
        await alice.send("presence", userIds=[1004, 1003, 1002, 1001, 1002, 9999])
        assert await alice.expect("presence") == {"online": [1003, 1002]}
        await alice.send("presence", userIds=[])
        assert await alice.expect("presence") == {"online": []}
        await alice.send("presence", userIds=list(range(1001, 1201)))
        assert (await alice.expect("presence"))["online"] == [1002, 1003]


@pytest.mark.gen_test
async def test_typing_is_forwarded_to_a_friend_and_stored_nowhere(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await alice.send("typing", toUserId=1002)
        assert await bob.expect("typing") == {"fromUserId": 1001}
        assert "typing" not in await kinds(carol)
        # For who is away it is gone.
        await carol.connection.close()
        await online_becomes(world, {1001, 1002})
        await alice.send("typing", toUserId=1003)
        await alice.quiet()
        typist = world.gateway.hub.get(1001)
        assert typist is not None
        await until(lambda: session_of(typist).asking == 0)
        # Redis answers in order: by now it has dealt with the notice.
        await alice.send("presence", userIds=[1003])
        assert await alice.expect("presence") == {"online": []}
        again = await world.login(1003)
        assert {"typing", "offline_messages"}.isdisjoint(await kinds(again))
        [row] = await world.rows(select(func.count()).select_from(messages))
        assert row[0] == 0


@pytest.mark.gen_test
async def test_typing_in_a_group_reaches_its_members_but_not_the_typist(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob, carol, dave = [await world.login(n) for n in (1001, 1002, 1003, 1004)]
        await alice.send("typing", groupId="g_demo")
        for user in (bob, carol):
            assert await user.expect("typing") == {"fromUserId": 1001, "groupId": "g_demo"}
        # Somebody who is not in it forwards nothing; the message behind it shows that.
        await dave.send("typing", groupId="g_demo")
        await dave.quiet()
        await alice.send("group_chat", groupId="g_demo", content="x")
        await bob.expect("group_chat")
        assert "typing" not in [frame["type"] for frame in bob.skipped]
        assert "typing" not in await kinds(alice)


@pytest.mark.gen_test
async def test_typing_of_strangers_and_blocked_friends_is_not_forwarded(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        await block(world, 1002, 1003)
        await world.execute(
            delete(friends).where(friends.c.user_id == 1002, friends.c.friend_id == 1004)
        )
        bob, carol, dave, alice = [await world.login(n) for n in (1002, 1003, 1004, 1001)]
        await alice.send("typing", toUserId=1002)
        await bob.expect("typing", fromUserId=1001)
        # His friends are known by now, so these are dealt with before the pong.
        for user in (carol, dave):
            await user.send("typing", toUserId=1002)
            await user.quiet()
        await alice.send("typing", toUserId=1002)
        await bob.expect("typing", fromUserId=1001)
        assert "typing" not in [frame["type"] for frame in bob.skipped]


@pytest.mark.gen_test
async def test_typing_is_shed_for_who_reads_slowly_while_events_are_not(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, 1002, receive_buffer=4096) as bob:
            await bob.expect("connected")
            slow = world.gateway.hub.get(1002)
            assert slow is not None
            event = {"type": "user", "userId": 1002, "notificationType": "n"}
            pushed = 0
            while not slow.outbox.crowded:
                await world.push(event | {"data": {"number": pushed, "text": "x" * 400_000}})
                pushed += 1
                assert pushed < 200
            for _ in range(3):
                await alice.send("typing", toUserId=1002)
            await until(lambda: world.gateway.stats.frames_shed >= 3)
            assert 1002 in world.gateway.hub
            got = [(await bob.expect("n"))["number"] for _ in range(pushed)]
            assert got == list(range(pushed))
            bob.send("ping")
            while (kind := await bob.next_kind()) != "pong":
                assert kind != "typing"


@pytest.mark.gen_test
async def test_ping_is_answered_with_the_time_whatever_it_carries(make_world: MakeWorld) -> None:
    async with make_world() as world:
        before = int(time.time())
        async with connect(world.url(1001)) as connection:
            alice = User(1001, connection)
            for text in (
                '{"type":"ping"}',
                '{"type":"ping","data":null}',
                '{"type":"ping","data":[1]}',
                '{"type":"ping","data":{"timestamp":5},"more":1}',
            ):
                await connection.send(text)
                pong = await alice.expect("pong")
                assert pong.keys() == {"timestamp"}
                assert before <= pong["timestamp"] <= time.time()
