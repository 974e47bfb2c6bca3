"""What friends believe and what Redis says become true again, whatever was missed meanwhile."""

import asyncio
from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from skyeim_ws.cli.admin.calls import AdminError
from skyeim_ws.cli.admin.cluster import gateways
from skyeim_ws.cli.admin.presence import repair
from skyeim_ws.gateway.app import Gateway
from skyeim_ws.services.tables import friends, group_members
from skyeim_ws.store.announcements import TOLD_KEY
from skyeim_ws.store.keys import NODES_KEY, session_key
from tests.gateway.conftest import MakeWorld
from tests.gateway.deaf import add_node_with_user, deafness
from tests.gateway.masters import keys
from tests.gateway.raw import RawUser, raw_user
from tests.gateway.test_social import online_becomes, users_online
from tests.lives import lifeless
from tests.long import LONG
from tests.store.servers import Server, running_server
from tests.waiting import until, until_async
from tests.world import User, World, world

CROWD = 5_000 if LONG else 300
FIRST = 20_001


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A Redis that the test may kill."""
    with running_server() as server:
        yield server


async def node_sessions(world: World) -> set[int]:
    """Return who is listed with any node."""
    listed: set[int] = set()
    for key in await keys(world, "ws:sessions:*"):
        listed |= set(map(int, await world.redis.hkeys(key)))
    return listed


async def node_of(world: World, user_id: int) -> str:
    """Return the node of a user's session."""
    session = await world.redis.get(session_key(user_id))
    assert isinstance(session, bytes)
    return session.decode().split(" ")[0]


async def listed_becomes(world: World, wanted: set[int]) -> None:
    async def reached() -> bool:
        return await node_sessions(world) == wanted

    await until_async(reached)


async def befriend(world: World, user_id: int, others: Sequence[int]) -> None:
    """Make a user the friend of many."""
    await world.execute(
        insert(friends).values([{"user_id": n, "friend_id": user_id} for n in others])
    )


@asynccontextmanager
async def crowd(world: World, users: Sequence[int]) -> AsyncIterator[list[RawUser]]:
    """Connect many users, some at a time."""
    async with AsyncExitStack() as stack:
        people: list[RawUser] = []
        for start in range(0, len(users), 50):
            people += await asyncio.gather(
                *(
                    stack.enter_async_context(raw_user(world, user_id))
                    for user_id in users[start : start + 50]
                )
            )
        yield people


async def hear(user: User, kind: str, wanted: int) -> Counter[int]:
    """Return of whom a user hears this, and how often, until it is of so many."""
    heard: Counter[int] = Counter()
    while len(heard) < wanted:
        heard[(await user.expect(kind))["userId"]] += 1
    return heard


@pytest.mark.gen_test
async def test_a_mass_disconnect_leaves_nothing_behind_and_every_friend_hears(
    make_world: MakeWorld,
) -> None:
    """With a healthy Redis, and whatever the size of the buffer for writes."""
    users = range(FIRST, FIRST + CROWD)
    async with make_world(offline_buffer_size=20) as world:
        await befriend(world, 1001, users)
        await world.add_group("g_crowd", *users)
        alice = await world.login(1001)
        async with crowd(world, users) as people:
            assert set(await hear(alice, "online", CROWD)) == set(users)
            await online_becomes(world, {1001, *users})
            await asyncio.gather(*(person.cut() for person in people))
            heard = await hear(alice, "offline", CROWD)
        assert heard == Counter(users)
        await online_becomes(world, {1001})
        await online_becomes(world, set(), "group:online:g_crowd")
        await listed_becomes(world, {1001})
        left = {lifeless(await world.redis.get(session_key(user))) for user in users}
        assert left == {b"clean"}


async def forget_since(server: Server, written: int, world: World) -> None:
    """Kill Redis, and start it without what it has taken since its file was so long."""
    server.kill()
    server.forget(written)
    await until(lambda: not world.gateway.pipeline.healthy)
    server.start()
    pipeline = world.gateway.pipeline
    await until(lambda: pipeline.healthy and not pipeline.waiting)


@pytest.mark.gen_test
async def test_who_has_left_is_gone_also_if_redis_has_forgotten_it(
    mortal: Server, tmp_path: Path
) -> None:
    async with world(mortal.socket, tmp_path) as here:
        alice, bob = await here.login(1001), await here.login(1002)
        await alice.expect("online", userId=1002)
        await online_becomes(here, {1001, 1002})
        written = mortal.written()
        await bob.connection.close()
        await alice.expect("offline", userId=1002)
        await online_becomes(here, {1001})
        await forget_since(mortal, written, here)
        await online_becomes(here, {1001})
        await online_becomes(here, {1001}, "group:online:g_demo")
        await online_becomes(here, {1001}, TOLD_KEY)
        await listed_becomes(here, {1001})
        await here.login(1002)
        await alice.expect("online", userId=1002)


@pytest.mark.gen_test
async def test_who_leaves_while_redis_is_away_is_told_of_when_it_is_back(
    mortal: Server, tmp_path: Path
) -> None:
    async with world(mortal.socket, tmp_path) as chat:
        alice, bob = await chat.login(1001), await chat.login(1002)
        await alice.expect("online", userId=1002)
        mortal.kill()
        await until(lambda: not chat.gateway.pipeline.healthy)
        await bob.connection.close()
        mortal.start()
        await alice.expect("offline", userId=1002)
        await online_becomes(chat, {1001})


@pytest.mark.gen_test
async def test_who_leaves_while_redis_loses_all_is_told_of_too(
    mortal: Server, tmp_path: Path
) -> None:
    async with world(mortal.socket, tmp_path) as chat:
        alice, bob = await chat.login(1001), await chat.login(1002)
        await alice.expect("online", userId=1002)
        await chat.redis.flushall()
        await bob.connection.close()
        await alice.expect("offline", userId=1002)


@pytest.mark.gen_test
async def test_a_node_that_was_deaf_tells_its_users_what_it_has_missed(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        other = await add_node_with_user(world)
        alice, bob = await world.login(1001, node=other), await world.login(1002)
        await alice.expect("online", userId=1002)
        # The notice goes while nobody hears it.
        async with deafness(world, other):
            await bob.connection.close()

            async def told() -> bool:
                return not await world.redis.sismember(TOLD_KEY, "1002")

            await until_async(told)
        await alice.expect("offline", userId=1002)


@pytest.mark.gen_test
async def test_friends_of_a_node_that_was_taken_for_dead_see_its_users_again(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world(node_renew_interval=0.05, node_dead_after=0.5) as world:
        other = await world.add_node()
        alice, bob = await world.login(1001), await world.login(1002, node=other)
        await alice.expect("online", userId=1002)
        name = await node_of(world, 1002)
        # What the reaper of a node does that was not seen for too long.
        await world.redis.delete(session_key(1002), f"ws:sessions:{name}")
        await world.redis.srem("online:users", 1002)
        await world.redis.srem(TOLD_KEY, 1002)
        await world.redis.zrem(NODES_KEY, name)
        await alice.expect("online", userId=1002)
        await online_becomes(world, {1001, 1002})
        await alice.chat(1002, "still there")
        await bob.expect("chat")


@pytest.mark.gen_test
async def test_friends_hear_when_the_friend_service_is_back(make_world: MakeWorld) -> None:
    async with make_world(rpc_timeout=300) as world:
        alice = await world.login(1001)
        await world.stop_services()
        bob = await world.login(1002)
        await bob.quiet()
        await world.start_services()
        await alice.expect("online", userId=1002)
        await bob.connection.close()
        await alice.expect("offline", userId=1002)


@pytest.mark.gen_test
async def test_a_login_that_ends_before_it_was_told_is_never_told(make_world: MakeWorld) -> None:
    """Each `offline` was preceded by an `online`."""
    async with make_world(rpc_timeout=300) as world:
        alice = await world.login(1001)
        await world.stop_services()
        bob = await world.login(1002)
        await bob.connection.close()
        await online_becomes(world, {1001})
        await world.start_services()
        await world.login(1003)
        await alice.expect("online", userId=1003)
        assert {(f["type"], f["data"].get("userId")) for f in alice.skipped}.isdisjoint(
            {("online", 1002), ("offline", 1002)}
        )


@pytest.mark.gen_test
async def test_a_group_joined_after_the_login_is_in_the_record_of_the_node(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        await world.add_group("g_new", 1002)
        alice, bob = await world.login(1001), await world.login(1002)
        await world.execute(insert(group_members).values(group_id="g_new", user_id=1001))
        await world.redis.delete("im:group:members:g_new")
        await bob.send("group_chat", groupId="g_new", content="welcome")
        await alice.expect("group_chat")
        [key] = await keys(world, "ws:sessions:*")

        async def noted() -> bool:
            return b"g_new" in (await world.redis.hget(key, "1001") or b"")

        await until_async(noted)
        await online_becomes(world, {1001, 1002}, "group:online:g_new")
        # And out of it again, when the user is no member any more.
        await world.execute(
            delete(group_members).where(
                group_members.c.group_id == "g_new", group_members.c.user_id == 1001
            )
        )
        await world.redis.delete("im:group:members:g_new")
        await bob.send("group_chat", groupId="g_new", content="alone")
        await online_becomes(world, {1002}, "group:online:g_new")


async def orphan(world: World, user_id: int, session: str = "") -> None:
    """Leave behind what no code should leave."""
    await world.redis.sadd("online:users", user_id)
    await world.redis.sadd("group:online:g_lost", user_id)
    await world.redis.sadd(TOLD_KEY, user_id)
    if session:
        await world.redis.set(session_key(user_id), session)


@pytest.mark.gen_test
async def test_what_is_left_of_users_who_are_gone_is_found_at_a_slow_pace(
    make_world: MakeWorld,
) -> None:
    async with make_world(presence_check_interval=0.2) as world:
        other: Gateway = await world.add_node()
        alice, carol = await world.login(1001), await world.login(1003, node=other)
        await online_becomes(world, {1001, 1003}, "group:online:g_demo")
        await orphan(world, 1002, f"{await node_of(world, 1001)} gone")
        await orphan(world, 1004, "nowhere gone")
        await orphan(world, 1005)
        # And who is here is taken out, with friends who were told so.
        await world.redis.srem("online:users", 1003)
        await world.redis.srem("group:online:g_demo", 1003)
        await world.redis.srem(TOLD_KEY, 1003)
        news: set[tuple[str, int]] = set()
        while len(news) < 2:
            frame = await alice.receive()
            news.add((frame["type"], frame["data"]["userId"]))
        assert news == {("offline", 1002), ("online", 1003)}
        await online_becomes(world, {1001, 1003})
        await online_becomes(world, {1001, 1003}, "group:online:g_demo")
        await online_becomes(world, set(), "group:online:g_lost")

        async def believed() -> bool:
            return set(map(int, await world.redis.smembers(TOLD_KEY))) == {1001, 1003}

        await until_async(believed)
        assert not await world.redis.exists(session_key(1002), session_key(1004))
        await carol.quiet()
        assert await users_online(world) == {1001, 1003}


@pytest.mark.gen_test
async def test_who_came_while_the_group_service_was_away_is_online_in_the_groups_later(
    make_world: MakeWorld,
) -> None:
    async with make_world(presence_check_interval=0.2, rpc_timeout=300) as world:
        alice = await world.login(1001)
        await online_becomes(world, {1001}, "group:online:g_demo")
        await world.stop_services()
        bob = await world.login(1002)
        await bob.quiet()
        await world.start_services()
        await online_becomes(world, {1001, 1002}, "group:online:g_demo")
        await bob.connection.close()
        await online_becomes(world, {1001}, "group:online:g_demo")
        await alice.quiet()


@pytest.mark.gen_test
async def test_an_operator_has_all_of_it_compared_now(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.add_node()
        alice = await world.login(1001)
        await orphan(world, 1002)
        await until(world.gateway.bus.ready.is_set)
        async with gateways(world.config) as operators:
            answer = await repair(operators, Namespace())
        assert answer.data == {"asked": 2, "silent": []}
        await alice.expect("offline", userId=1002)
        await online_becomes(world, {1001})
        await online_becomes(world, set(), "group:online:g_lost")


@pytest.mark.gen_test
async def test_where_no_gateway_listens_an_operator_is_told(mortal: Server, tmp_path: Path) -> None:
    async with world(mortal.socket, tmp_path) as chat:
        config = chat.config
    with pytest.raises(AdminError, match="no gateway is listed"):
        async with gateways(config) as operators:
            await repair(operators, Namespace())
    mortal.kill()
    with pytest.raises(AdminError, match="cannot reach Redis"):
        async with gateways(config) as operators:
            await repair(operators, Namespace())
