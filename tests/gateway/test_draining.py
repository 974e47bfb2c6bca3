"""A node is emptied in slots, and filled again: nothing is lost, and no crowd comes to others."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from skyeim_ws.config.tree import ShutdownConf
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.app import Gateway
from skyeim_ws.gateway.draining import Drain
from skyeim_ws.logic import announcer, slots
from skyeim_ws.logic.slots import FIRST_RETURN, SHORTEST_SPREAD
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.gateway.test_social import online_becomes
from tests.spread import BOUND, unevenness
from tests.waiting import until
from tests.world import User, World

CROWD = range(5001, 5081)


def settings(rate: int) -> dict[str, Any]:
    """Return a fleet whose nodes take so many logins in a second."""
    return {"shutdown": ShutdownConf(wrap_up_time=0.2, wait_time=2, login_rate=rate)}


@asynccontextmanager
async def two_nodes(make_world: MakeWorld, rate: int = 200) -> AsyncIterator[tuple[World, Gateway]]:
    """Run a world whose first node knows of a second one, to which everybody can go."""
    async with make_world(settings=settings(rate), node_renew_interval=0.2) as world:
        other = await world.add_node()
        yield world, other


async def left(user: User) -> tuple[float, float]:
    """Wait until a user is sent away; return when that was, and how long it is to stay away."""
    assert await user.close_code() == 1001
    told = re.fullmatch(r"retry_after_ms=(\d+)", user.connection.close_reason or "")
    assert told is not None
    return asyncio.get_running_loop().time(), int(told[1]) / 1000


async def reasons(world: World) -> list[str]:
    """Return why the first node is not ready."""
    found: list[str] = json.loads((await world.get("/health")).body).get("reasons", [])
    return found


@pytest.mark.gen_test
async def test_clients_leave_and_return_in_slots_that_the_others_can_take(
    make_world: MakeWorld,
) -> None:
    async with two_nodes(make_world, rate=40) as (world, _):
        users = [await world.login(user_id) for user_id in CROWD]
        began = asyncio.get_running_loop().time()
        planned = world.gateway.drain.begin()
        assert (planned.clients, planned.pace) == (len(CROWD), len(CROWD) / 40)
        ends = await asyncio.gather(*map(left, users))
        assert unevenness((at - began for at, _ in ends), 0, planned.pace) < BOUND
        returns = [at - began + away - FIRST_RETURN for at, away in ends]
        assert unevenness(returns, 0, SHORTEST_SPREAD) < BOUND
        assert len(world.gateway.hub) == 0


@pytest.mark.gen_test
async def test_a_stop_has_less_time_and_the_clients_stay_away_for_longer(
    make_world: MakeWorld,
) -> None:
    async with two_nodes(make_world, rate=10) as (world, _):
        users = [await world.login(user_id) for user_id in CROWD]
        began = asyncio.get_running_loop().time()
        leaving = asyncio.gather(*map(left, users))
        await world.gateway.drain.stop(ShutdownConf(wrap_up_time=0.2, wait_time=2))
        returns = [at - began + away - FIRST_RETURN for at, away in await leaving]
        assert unevenness(returns, 0, len(CROWD) / 10) < BOUND
        assert len(world.gateway.hub) == 0


@pytest.mark.gen_test
async def test_a_message_to_who_is_on_the_way_arrives_and_no_friend_hears_of_it(
    make_world: MakeWorld,
) -> None:
    async with two_nodes(make_world) as (world, other):
        alice = await world.login(1001, node=other)
        bob = await world.login(1002)
        await alice.expect("online", userId=1002)
        world.gateway.drain.begin()
        await left(bob)
        await alice.chat(1002, "come over")
        bob = await world.login(1002, node=other)
        await bob.expect("chat", content="come over")
        await alice.expect("ack", status="delivered")
        await online_becomes(world, {1001, 1002})
        assert [f for f in alice.skipped if f["type"] == "offline"] == []


@pytest.mark.gen_test
async def test_a_drained_node_refuses_who_comes_and_takes_them_again(make_world: MakeWorld) -> None:
    async with two_nodes(make_world) as (world, _):
        world.gateway.drain.begin()
        with pytest.raises(InvalidStatus) as refused:
            await world.dial(1001)
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert json.loads(response.body or b"")["code"] == 503
        assert "draining" in await reasons(world)
        world.gateway.drain.end()
        await world.login(1001)
        assert "draining" not in await reasons(world)


@pytest.mark.gen_test
async def test_who_has_not_left_when_the_drain_is_called_off_stays(make_world: MakeWorld) -> None:
    async with two_nodes(make_world, rate=1) as (world, _):
        first, second = [await world.login(user_id) for user_id in (1001, 1002)]
        await first.expect("online", userId=1002)
        world.gateway.drain.begin()
        await until(lambda: len(world.gateway.hub) == 1)
        world.gateway.drain.end()
        await left(first)
        await second.quiet()
        # From now on friends hear again of who leaves.
        watching = await world.login(1001)
        await second.connection.close()
        await watching.expect("offline", userId=1002)


@pytest.mark.gen_test
async def test_friends_hear_in_time_of_who_does_not_come_back_and_of_nobody_else(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "SHORTEST_SPREAD", 0.1)
    monkeypatch.setattr(announcer, "_LATE_SECONDS", 1.0)
    monkeypatch.setattr(announcer, "_LOOK_SECONDS", 0.1)
    async with two_nodes(make_world) as (world, other):
        alice = await world.login(1001, node=other)
        bob, carol = await world.login(1002), await world.login(1003)
        await online_becomes(world, {1001, 1002, 1003})
        for user_id in (1002, 1003):
            await alice.expect("online", userId=user_id)
        alice.skipped.clear()
        stopped = ShutdownConf(wrap_up_time=0, wait_time=2)
        _, _, _ = await asyncio.gather(left(bob), left(carol), world.gateway.drain.stop(stopped))
        carol = await world.login(1003, node=other)
        await alice.expect("offline", userId=1002)
        assert [f for f in (*alice.skipped, *await alice.quiet()) if "line" in f["type"]] == []
        # Who leaves the other node is told of at once, as ever.
        await carol.connection.close()
        await alice.expect("offline", userId=1003)


@pytest.mark.gen_test
async def test_a_stop_does_not_wait_for_a_drain_that_takes_its_time(make_world: MakeWorld) -> None:
    async with two_nodes(make_world, rate=1) as (world, _):
        users = [await world.login(user_id) for user_id in CROWD]
        world.gateway.drain.begin()
        leaving = asyncio.gather(*map(left, users))
        await world.gateway.drain.stop(ShutdownConf(wrap_up_time=0, wait_time=2))
        assert len(await leaving) == len(CROWD)
        # And nothing opens again what is stopping.
        world.gateway.drain.end()
        assert world.gateway.sessions.draining


@pytest.mark.gen_test
async def test_clients_come_and_stay_while_a_stop_is_only_announced(make_world: MakeWorld) -> None:
    async with make_world() as world:
        announced = ShutdownConf(pre_stop=3600)
        stopping = asyncio.create_task(world.gateway.drain.stop(announced))
        await until(lambda: world.gateway.drain.stopping)
        assert "stopping" in await reasons(world)
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1002, "still here")
        await bob.expect("chat", content="still here")
        stopping.cancel()
        await asyncio.wait({stopping})


@pytest.mark.gen_test
async def test_a_node_that_has_failed_does_not_announce_its_stop(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        shutdown = ShutdownConf(pre_stop=3600, wrap_up_time=0, wait_time=2)
        leaving = asyncio.create_task(left(alice))
        await world.gateway.drain.stop(shutdown, failed=True)
        await leaving


@pytest.mark.gen_test
async def test_a_stop_ends_although_a_client_does_not(make_world: MakeWorld) -> None:
    async with make_world(close_timeout=60) as world, raw_user(world, 1001) as alice:
        await alice.expect("connected")
        await world.gateway.drain.stop(ShutdownConf(wrap_up_time=0, wait_time=0.2))
        # He was told, and nothing is routed to him any more.
        assert (await alice.close_frame()).code == 1001
        assert len(world.gateway.hub) == 0


@pytest.mark.gen_test
async def test_the_only_node_is_drained_as_slowly_as_it_can_take_them_back(
    make_world: MakeWorld,
) -> None:
    async with make_world(settings=settings(10)) as world:
        for user_id in (1001, 1002):
            await world.login(user_id)
        assert world.gateway.drain.begin().pace == 0.2


class Leaving:
    """A hub and sessions of a crowd that notes who leaves in the same turn of the loop."""

    def __init__(self, count: int) -> None:
        self.clients = range(count)
        self.turns: list[int] = []
        self.draining = False
        self._same = False

    def __len__(self) -> int:
        return len(self.clients)

    def __iter__(self) -> Iterator[int]:
        return iter(self.clients)

    def send_away(self, client: int, seconds: float) -> None:
        if not self._same:
            self._same = True
            self.turns.append(0)
            asyncio.get_running_loop().call_soon(self._next)
        self.turns[-1] += 1

    def _next(self) -> None:
        self._same = False


async def drained(login_rate: float) -> list[int]:
    """Send 2,000 clients away; return how many left in each turn."""
    crowd: Any = Leaving(2_000)
    drain = Drain(
        hub=crowd,
        sessions=crowd,
        sending=crowd,
        stats=Stats(),
        login_rate=lambda: login_rate,
        fleet=lambda: 1.0,
    )
    with capture_logs() as lines:
        drain.begin()
        await until(lambda: lines[-1]["event"] == "drain_done")
    assert sum(crowd.turns) == 2_000
    return list(crowd.turns)


@pytest.mark.gen_test
async def test_a_crowd_that_has_no_time_leaves_in_parts() -> None:
    assert max(await drained(1e9)) <= 100


@pytest.mark.gen_test
async def test_those_of_a_moment_leave_together() -> None:
    # A quarter of a second in all; each for itself it would take a turn for each.
    assert len(await drained(8_000)) < 50
