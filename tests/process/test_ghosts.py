"""A node that is killed leaves no ghosts: its users are offline everywhere, and friends hear it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert
from websockets.asyncio.client import ClientConnection, connect

from skyeim_ws.services.tables import friends
from tests.long import LONG
from tests.process.conftest import Program, running, skyeim
from tests.store.servers import Server
from tests.waiting import DEADLINE, until_async
from tests.world import PUSH_SECRET, SECRET, User, World, world

USERS = range(2001, 2501 if LONG else 2201)
WATCHER = 1001
GROUP = "g_ghosts"
# The long form has the leases that are the default.
RENEW, DEAD_AFTER = (5.0, 15.0) if LONG else (0.2, 1.0)

RPC_TIMEOUT = 10_000
"""Milliseconds; the services share a core with everyone who logs in at once."""

AT_ONCE = 25
"""Handshakes under way at a time."""


def node_config(here: World, redis: Path) -> str:
    """Return the configuration of a node on the Redis and the services of a running world."""
    rpc = f"{{Endpoints: ['{here.service_address}'], Timeout: {RPC_TIMEOUT}}}"
    return f"""
Name: doomed
Host: 127.0.0.1
Port: 0
Mode: test
Auth: {{AccessSecret: "{SECRET}"}}
Redis: {{Host: {redis}}}
MessageRpc: {rpc}
FriendRpc: {rpc}
GroupRpc: {rpc}
WebSocket: {{NodeRenewInterval: {RENEW}, NodeDeadAfter: {DEAD_AFTER}}}
PushEvent: {{Secret: "{PUSH_SECRET}"}}
Log: {{Encoding: json}}
"""


async def befriend(here: World) -> None:
    """Make the watcher a friend of all users, and all of them members of one group."""
    pairs = [pair for user in USERS for pair in ((user, WATCHER), (WATCHER, user))]
    rows = [{"user_id": user, "friend_id": friend, "status": 1} for user, friend in pairs]
    await here.execute(insert(friends).values(rows))
    await here.add_group(GROUP, WATCHER, *USERS)


@asynccontextmanager
async def crowd(here: World, port: int) -> AsyncIterator[list[ClientConnection]]:
    """Connect all users to a node."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def join(user_id: int) -> ClientConnection:
        url = f"ws://127.0.0.1:{port}/ws?token={here.token(user_id)}"
        async with turns:
            return await connect(url, compression=None, ping_interval=None)

    async with AsyncExitStack() as stack:
        connections = await asyncio.gather(*map(join, USERS))
        for connection in connections:
            stack.push_async_callback(connection.close)
        yield connections


async def members(here: World, key: str) -> set[int]:
    """Return the users in a set."""
    return {int(member) for member in await here.redis.smembers(key)}


async def all_online(here: World, users: set[int]) -> None:
    """Wait until these, and nobody else, are online."""
    keys = ("online:users", f"group:online:{GROUP}")

    async def reached() -> bool:
        return all([await members(here, key) == users for key in keys])

    await until_async(reached)


async def heard(watcher: User, kind: str) -> set[int]:
    """Wait until the watcher has heard this of everyone, and return of whom."""
    return {(await watcher.expect(kind))["userId"] for _ in USERS}


@pytest.mark.gen_test
async def test_the_users_of_a_killed_node_are_nowhere_online_and_their_friends_hear_it(
    folder: Path, server: Server
) -> None:
    async with world(
        server.socket,
        folder,
        rpc_timeout=RPC_TIMEOUT,
        node_renew_interval=RENEW,
        node_dead_after=DEAD_AFTER,
    ) as here:
        await befriend(here)
        watcher = await here.login(WATCHER)
        (folder / "ws.yaml").write_text(node_config(here, server.socket))
        async with running(folder, *skyeim("serve")) as doomed:
            await watch_them_go(here, watcher, doomed)


async def watch_them_go(here: World, watcher: User, doomed: Program) -> None:
    async with crowd(here, await doomed.port()) as connections:
        await all_online(here, {WATCHER, *USERS})
        assert await heard(watcher, "online") == set(USERS)
        assert not watcher.skipped

        doomed.process.kill()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(connection.wait_closed() for connection in connections))
            await all_online(here, {WATCHER})
            assert await heard(watcher, "offline") == set(USERS)
        assert not watcher.skipped
        sessions = [f"{{offline:private:{user_id}}}:session" for user_id in USERS]
        assert set(await here.redis.mget(sessions)) == {None}
        assert await here.redis.zcard("ws:nodes") == 1
        assert len(await here.redis.keys("ws:sessions:*")) == 1
        assert not await here.redis.keys("ws:reaper:*")

        back = await here.login(USERS[0])
        await watcher.chat(back.user_id, "welcome back")
        await back.expect("chat", content="welcome back")
