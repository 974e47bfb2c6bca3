"""Two logins at once on two nodes: one survives, whichever it is, and it works."""

import asyncio

import pytest

from skyeim_ws.gateway.app import Gateway
from skyeim_ws.logic.shared_state import Claim
from skyeim_ws.store.keys import session_key
from skyeim_ws.store.sessions import RedisSessions
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.lives import lifeless
from tests.long import LONG
from tests.waiting import until, until_async
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


@pytest.mark.gen_test
async def test_a_claim_that_comes_when_its_client_has_gone_elsewhere_ends_nobody(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was slow for one node alone. Its claim is the later one, and takes the place."""
    claim = RedisSessions.claim
    claimed: list[Claim] = []
    slow, go_on = asyncio.Event(), asyncio.Event()

    async def late(self: RedisSessions, user_id: int, conn_id: str, limit: int) -> Claim:
        slow.set()
        await go_on.wait()
        claimed.append(await claim(self, user_id, conn_id, limit))
        return claimed[0]

    async with make_world() as world:
        other = await world.add_node()
        friend = await world.login(FRIEND)
        with monkeypatch.context() as patched:
            patched.setattr(RedisSessions, "claim", late)
            async with raw_user(world, RACER):
                await slow.wait()
        user = await world.login(RACER, node=other)
        go_on.set()
        await until(lambda: RACER not in world.gateway.hub)
        client = other.hub.get(RACER)
        assert client is not None
        assert claimed[0].conn_id == client.conn_id

        async def has_its_place() -> bool:
            session = lifeless(await world.redis.get(session_key(RACER)))
            return session == f"{claimed[0].node} {client.conn_id}".encode()

        await until_async(has_its_place)
        await check(world, other, user, friend, "hello")
