"""Two logins at once on two nodes: one survives, whichever it is, and it works."""

import asyncio

import pytest

from skyeim_ws.gateway.app import Gateway
from tests.gateway.conftest import MakeWorld
from tests.long import LONG
from tests.waiting import until
from tests.world import User, World

RACER, FRIEND = 1001, 1002
ROUNDS = 200 if LONG else 40


async def race(world: World, other: Gateway) -> User:
    """Log in on both nodes at once; return the connection that stays."""
    users = await asyncio.gather(world.dial(RACER), world.dial(RACER, node=other))
    closings = {asyncio.create_task(user.close_code()): user for user in users}
    try:
        done, _ = await asyncio.wait(closings, return_when=asyncio.FIRST_COMPLETED)
        [closed] = done
        loser = closings.pop(closed)
        assert closed.result() == 4001
        assert loser.skipped[-1]["type"] == "kicked"
    finally:
        for closing in closings:
            closing.cancel()
        await asyncio.gather(*closings, return_exceptions=True)
    [survivor] = closings.values()
    return survivor


async def check(world: World, other: Gateway, survivor: User, friend: User, text: str) -> None:
    """See that the survivor is where messages go, and can send."""
    sent = await friend.chat(RACER, text)
    await survivor.expect("chat", content=text)
    await friend.expect("ack", msgId=sent["msgId"], status="delivered")
    await survivor.chat(FRIEND, text)
    await friend.expect("chat", content=text)
    assert [RACER in node.hub for node in (world.gateway, other)].count(True) == 1
    assert await world.redis.smembers("online:users") == {b"1001", b"1002"}


def heard(friend: User) -> list[str]:
    """Return which signs of the racer the friend has passed over, and forget them."""
    kinds = [frame["type"] for frame in friend.skipped if frame["type"] in ("online", "offline")]
    friend.skipped.clear()
    return kinds


@pytest.mark.gen_test
async def test_of_two_that_take_a_session_over_at_once_exactly_one_survives(
    make_world: MakeWorld,
) -> None:
    """Nobody hears `offline` of a user who was there all the time."""
    async with make_world(rate_limit=0) as world:
        other = await world.add_node()
        friend = await world.login(FRIEND)
        last = await world.login(RACER)
        await friend.expect("online", userId=RACER)
        for number in range(ROUNDS):
            survivor = await race(world, other)
            assert await last.close_code() == 4001
            await check(world, other, survivor, friend, f"m{number}")
            assert "offline" not in heard(friend)
            last = survivor
        await last.connection.close()
        await friend.expect("offline", userId=RACER)


@pytest.mark.gen_test
async def test_of_two_first_logins_at_once_exactly_one_survives(make_world: MakeWorld) -> None:
    """A friend hears of each of them once it is over, and not before."""
    async with make_world(rate_limit=0) as world:
        other = await world.add_node()
        friend = await world.login(FRIEND)
        for number in range(ROUNDS):
            survivor = await race(world, other)
            await check(world, other, survivor, friend, f"m{number}")
            told = heard(friend)
            assert "offline" not in told
            if "online" not in told:  # of who leaves before that, nobody would hear `offline`
                await friend.expect("online", userId=RACER)
            await survivor.connection.close()
            await friend.expect("offline", userId=RACER)
            await until(lambda: not any(RACER in node.hub for node in (world.gateway, other)))
