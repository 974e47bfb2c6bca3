"""Nobody gets again what was confirmed long ago, and nothing below the watermark is lost."""

import json
from collections.abc import Sequence

import pytest

from skyeim_ws.logic.session_state import session_of
from skyeim_ws.store.keys import holders_key, missed_key, queue_key, session_key, watermark_key
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.gateway.test_catch_up import recover, unheard
from tests.lives import lifeless
from tests.waiting import until, until_async
from tests.world import User, World

BOB = 1002


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyeim_ws.logic.watermarks._SECONDS", 0.05)


async def wrote(sender: User, count: int) -> list[int]:
    """Write so many messages to Bob; return their ids."""
    return [(await sender.chat(BOB, "hello"))["id"] for _ in range(count)]


async def stored(world: World, key: str) -> bytes | None:
    found = await world.redis.get(key)
    assert not isinstance(found, str)
    return found


async def watermark_is(world: World, below: int) -> None:
    async def written() -> bool:
        return await stored(world, watermark_key(BOB)) == b"%d" % below

    await until_async(written)


async def dies(world: World, *clients: User) -> None:
    """Let connections end as with their node: nothing says that it was in order."""
    for client in clients:
        await client.connection.close()
    await until(lambda: BOB not in world.gateway.hub)

    async def released() -> bool:
        return lifeless(await stored(world, session_key(BOB))) == b"clean"

    await until_async(released)
    await world.redis.delete(session_key(BOB))


async def brought(client: User, count: int) -> list[int]:
    """Return the ids of so many messages, and of what else has come with them."""
    ids = [(await client.expect("chat"))["id"] for _ in range(count)]
    return ids + [frame["data"]["id"] for frame in await client.quiet() if frame["type"] == "chat"]


@pytest.mark.gen_test
async def test_after_a_death_a_catch_up_begins_at_what_is_unconfirmed(
    make_world: MakeWorld,
) -> None:
    async with make_world(rate_limit=0) as world:
        alice, bob = await world.login(1001), await world.login(BOB)
        ids = await wrote(alice, 120)
        await brought(bob, 120)
        await watermark_is(world, ids[-1] + 1)
        assert 0 < await world.redis.ttl(watermark_key(BOB)) <= 30 * 86_400
        await dies(world, bob)
        more = await wrote(alice, 3)
        await world.redis.delete(queue_key(BOB))  # they died with the node
        assert await brought(await world.login(BOB), 3) == more


@pytest.mark.gen_test
async def test_a_session_that_ends_at_once_leaves_what_it_has_confirmed(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one may confirm nothing, and die."""
    monkeypatch.setattr("skyeim_ws.logic.watermarks._SECONDS", 60)
    async with make_world(rate_limit=0) as world:
        alice, bob = await world.login(1001), await world.login(BOB)
        ids = await wrote(alice, 3)
        await brought(bob, 3)
        client = world.gateway.hub.get(BOB)
        assert client is not None
        await until(lambda: not len(client.ledger))
        await dies(world, bob)
        assert await stored(world, watermark_key(BOB)) == b"%d" % (ids[-1] + 1)
        assert await brought(await world.login(BOB), 0) == []


@pytest.mark.gen_test
async def test_it_stays_before_what_waits_in_the_queue(make_world: MakeWorld) -> None:
    async with make_world(rate_limit=0, offline_push_limit=5) as world:
        alice = await world.login(1001)
        ids = await wrote(alice, 12)
        bob = await world.login(BOB)
        assert await brought(bob, 5) == ids[-5:]
        await watermark_is(world, ids[0])
        await bob.send("offline_pull", limit=4)
        assert await brought(bob, 4) == ids[3:7]
        await wrote(alice, 1)
        await dies(world, bob)
        await world.redis.delete(queue_key(BOB))
        assert (await brought(await world.login(BOB), 12))[:3] == ids[:3]


@pytest.mark.gen_test
async def test_a_late_message_takes_it_back(make_world: MakeWorld) -> None:
    """As one that was stored before others and answered after them."""
    async with make_world() as world:
        alice = await world.login(1001)
        async with raw_user(world, BOB) as bob:
            await bob.expect("connected")
            client = world.gateway.hub.get(BOB)
            assert client is not None
            session = session_of(client)
            await until(lambda: session.proposed == 0 and session.in_node_sessions)
            await world.redis.set(watermark_key(BOB), 1_000_000)
            session.known_watermark(1_000_000)
            [late] = await wrote(alice, 1)
            assert await stored(world, watermark_key(BOB)) == b"%d" % late
            assert await world.redis.llen(queue_key(BOB)) == 1
        await until(lambda: BOB not in world.gateway.hub)
        await world.redis.delete(session_key(BOB), queue_key(BOB))
        assert await brought(await world.login(BOB), 1) == [late]


@pytest.mark.gen_test
async def test_what_is_queued_late_and_unheard_is_brought_all_the_same(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a retry, which stands below what was pushed; else it would hold the watermark for good."""
    async with make_world(rate_limit=0) as world:
        other = await world.add_node()
        alice, bob = await world.login(1001, node=other), await world.login(BOB)
        await alice.chat(BOB, "first")
        first = await bob.expect("chat")
        await unheard(monkeypatch, alice, BOB, ["second"])
        recover(world.gateway)
        second = await bob.expect("chat", msgId="second")
        await watermark_is(world, second["id"] + 1)
        await world.redis.rpush(queue_key(BOB), json.dumps(first))
        await world.redis.set(watermark_key(BOB), first["id"])
        recover(world.gateway)
        await bob.expect("chat", msgId=first["msgId"])
        await watermark_is(world, second["id"] + 1)
        assert await world.redis.llen(queue_key(BOB)) == 0


async def acked(world: World, client: User, ids: Sequence[int]) -> None:
    """Confirm messages by their msgIds, which are passed over by `expect`."""
    frames = [await client.expect("chat", id=number) for number in ids]
    for start in range(0, len(frames), 100):
        some = [frame["msgId"] for frame in frames[start : start + 100]]
        await client.send("ack", msgIds=some, status="delivered")


@pytest.mark.gen_test
async def test_a_retry_that_is_queued_before_the_first_one_is_confirmed_leaves_with_it(
    make_world: MakeWorld,
) -> None:
    """Else it would stay in the queue, and hold the watermark there."""
    async with make_world(rate_limit=0) as world:
        other = await world.add_node()
        alice = await world.login(1001)
        bob = await world.login(BOB, url=world.url(BOB, confirm="ack"))
        first = await alice.chat(BOB, "x", msgId="first")
        again = await world.login(1001, node=other)
        assert (await again.chat(BOB, "x", msgId="first"))["id"] == first["id"]
        second = await again.chat(BOB, "x")
        await acked(world, bob, [first["id"], second["id"]])
        await watermark_is(world, second["id"] + 1)
        assert await world.redis.llen(queue_key(BOB)) == 0


@pytest.mark.gen_test
async def test_a_death_amid_a_catch_up_costs_what_was_confirmed_nothing(
    make_world: MakeWorld,
) -> None:
    async with make_world(rate_limit=0) as world:
        ids = await wrote(await world.login(1001), 250)
        await world.redis.delete(queue_key(BOB), session_key(BOB))
        bob = await world.login(BOB, url=world.url(BOB, confirm="ack"))
        await acked(world, bob, ids[:100])
        await acked(world, bob, ids[100:150])
        await watermark_is(world, ids[150])
        await dies(world, bob)
        assert await world.redis.exists(missed_key(BOB))
        assert await brought(await world.login(BOB), 100) == ids[150:]


@pytest.mark.gen_test
async def test_what_has_left_a_full_queue_is_brought_after_a_death(make_world: MakeWorld) -> None:
    async with make_world(rate_limit=0, offline_queue_size=10) as world:
        alice = await world.login(1001)
        ids = await wrote(alice, 15)
        bob = await world.login(BOB)
        assert await brought(bob, 10) == ids[5:]
        client = world.gateway.hub.get(BOB)
        assert client is not None
        await until(lambda: session_of(client).proposed > ids[-1])
        assert await stored(world, watermark_key(BOB)) == b"0 full"
        await dies(world, bob)
        again = await world.login(BOB)
        assert await brought(again, 15) == ids
        await watermark_is(world, ids[-1] + 1)


@pytest.mark.gen_test
async def test_two_devices_in_turn_on_two_nodes(make_world: MakeWorld) -> None:
    async with make_world(rate_limit=0) as world:
        alice, other = await world.login(1001), await world.add_node()
        ids = []
        for turn in range(6):
            bob = await world.login(BOB, node=other if turn % 2 else None)
            [number] = await wrote(alice, 1)
            await bob.expect("chat", id=number)
            await watermark_is(world, number + 1)
            assert not await world.redis.exists(holders_key(BOB))
            ids.append(number)
        assert len(set(ids)) == 6
