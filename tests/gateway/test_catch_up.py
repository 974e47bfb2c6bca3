"""Older messages first: what resume, a death and an outage bring, and what waits behind it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from websockets.frames import Opcode

from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.gateway.app import Gateway
from skyeim_ws.logic.catch_up import Hold
from skyeim_ws.logic.cluster import Cluster
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.progress import Step, Wait
from skyeim_ws.services import history
from skyeim_ws.services.tables import READ, messages
from skyeim_ws.store.bus import RedisBus
from skyeim_ws.store.keys import queue_key, session_key, watermark_key
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.gateway.test_arrivals import is_nowhere
from tests.gateway.test_handshake import refusal
from tests.gateway.test_offline import leave_messages, queue_is, window
from tests.lives import older
from tests.store.servers import Server, running_server
from tests.waiting import until, until_async
from tests.world import User, World, world

MISSED = "{offline:private:1002}:missed"


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A Redis that the test may kill."""
    with running_server() as server:
        yield server


async def die_with(world: World, count: int) -> list[int]:
    """Let 1001 write to 1002 what a dead node takes with it; return the ids."""
    alice = await world.login(1001)
    ids = [(await alice.chat(1002, "x", msgId=f"m{number}"))["id"] for number in range(count)]
    await world.redis.delete("offline:private:1002")
    await world.redis.set(MISSED, "a mark")
    return ids


async def unheard(
    patch: pytest.MonkeyPatch, sender: User, receiver: int, msg_ids: list[str]
) -> None:
    """Queue messages of which the receiver's node is told and hears nothing."""
    with patch.context() as patched:
        patched.setattr(Cluster, "private", lambda *_: None)
        for msg_id in msg_ids:
            await sender.chat(receiver, "unheard", msgId=msg_id)


def recover(node: Gateway) -> None:
    """Have a node do what follows an outage."""
    for callback in node.pipeline.on_recovered:
        callback()


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
async def test_after_a_resume_an_outage_brings_nothing_that_the_client_has_to_ask_for(
    make_world: MakeWorld,
) -> None:
    """It would come behind newer messages of its conversation."""
    async with make_world() as world:
        other = await world.add_node()
        alice = await world.login(1001, node=other)
        ids = [(await alice.chat(1002, f"m{number}"))["id"] for number in range(3)]
        bob = await world.dial(1002, world.url(1002, resume=str(ids[1])))
        assert (await bob.expect("chat"))["id"] == ids[2]
        recover(world.gateway)
        client = world.gateway.hub.get(1002)
        assert client is not None
        await until(lambda: not world.gateway.catch_up.is_under_way(client))
        newest = (await alice.chat(1002, "live"))["id"]
        assert (await bob.expect("chat"))["id"] == newest
        await bob.send("offline_pull", limit=100)
        await bob.expect("offline_messages", pushCount=2, hasMore=False)
        assert [(await bob.expect("chat"))["id"] for _ in range(2)] == ids[:2]


@pytest.mark.gen_test
async def test_large_messages_are_brought_in_parts_that_fit_into_the_outbox(
    make_world: MakeWorld,
) -> None:
    """Else who resumes is closed with 4002 at each attempt, for ever."""
    async with make_world(send_queue_bytes=65536) as world:
        alice = await world.login(1001)
        for index in range(20):
            await alice.chat(1002, f"{index} " + "x" * 16000)
        bob = await world.dial(1002, world.url(1002, resume="0"))
        await bob.expect("connected")
        found = [(await bob.expect("chat"))["content"].split()[0] for _ in range(20)]
        assert found == [str(index) for index in range(20)]


@pytest.mark.gen_test
async def test_resume_after_a_death_brings_also_what_is_unread_below_the_id(
    make_world: MakeWorld,
) -> None:
    """What died with a node may be older than what has come over another node since."""
    async with make_world(rate_limit=0) as world:
        ids = await die_with(world, 260)
        bob = await world.dial(1002, world.url(1002, resume=str(ids[149])))
        seen = [(await bob.expect("chat"))["id"] for _ in ids]
        assert seen == ids

        async def forgotten() -> bool:
            return not await world.redis.exists(MISSED)

        await until_async(forgotten)
        await (await world.login(1003)).chat(1002, "live")
        assert (await bob.expect("chat"))["content"] == "live"


@pytest.mark.gen_test
async def test_what_is_missed_is_brought_once_whatever_is_read(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More is unread than is kept of one look at it, and some of it was read."""
    monkeypatch.setattr("skyeim_ws.logic.catch_up.MAX_HELD", 120)
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
        await world.redis.set(MISSED, "a mark")
        # On a slow machine it is written while they chat; without it all that is unread comes.
        await world.redis.delete(watermark_key(1002))

        bob = await world.dial(1002)
        unread = ids[1:100:2] + ids[100:]
        assert [(await bob.expect("chat"))["id"] for _ in unread] == unread
        assert "chat" not in {frame["type"] for frame in await bob.quiet()}


async def forget(world: World, user_id: int) -> None:
    """Have Redis be one that has forgotten the last messages of a user."""
    key = session_key(user_id)
    await world.redis.set(key, older(await world.redis.get(key)))
    await world.redis.delete(queue_key(user_id))


@pytest.mark.gen_test
async def test_what_a_redis_has_forgotten_that_was_killed_comes_from_storage(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the node that had queued it has died as well."""
    async with make_world() as world:
        other = await world.add_node()
        alice, bob = await world.login(1001, node=other), await world.login(1002)
        await until(world.gateway.bus.ready.is_set)
        await unheard(monkeypatch, alice, 1002, ["m-1"])
        await forget(world, 1002)
        recover(world.gateway)
        await alice.chat(1002, "x", msgId="m-2")
        assert [(await bob.expect("chat"))["msgId"] for _ in range(2)] == ["m-1", "m-2"]
        await bob.connection.close()
        await until_async(lambda: is_nowhere(world, 1002))
        await alice.chat(1002, "x", msgId="m-3")
        await forget(world, 1002)
        again = await world.dial(1002)
        await alice.chat(1002, "x", msgId="m-4")
        await again.expect("chat", msgId="m-3")  # perhaps behind what is not confirmed
        await again.expect("chat", msgId="m-4")


@pytest.mark.gen_test
async def test_a_resume_that_is_no_id_is_refused_before_the_upgrade(make_world: MakeWorld) -> None:
    async with make_world() as world:
        response = await refusal(world, f"?token={world.token(1001)}&resume=latest")
        assert response.status_code == 400


@pytest.mark.gen_test
async def test_resume_needs_no_redis(mortal: Server, tmp_path: Path) -> None:
    async with world(mortal.socket, tmp_path) as chat:
        alice = await chat.login(1001)
        ids = [(await alice.chat(1002, f"m{number}"))["id"] for number in range(3)]
        mortal.kill()
        await until(lambda: not chat.gateway.pipeline.healthy)
        bob = await chat.dial(1002, chat.url(1002, resume=str(ids[0])))
        assert [(await bob.expect("chat"))["id"] for _ in ids[1:]] == ids[1:]


@pytest.mark.gen_test
async def test_after_an_outage_what_the_older_of_two_logins_holds_comes_before_what_is_live(
    mortal: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kicks: list[tuple[Any, ...]] = []
    kicked, reclaim = Cluster.kicked, Cluster.reclaim
    monkeypatch.setattr("skyeim_ws.logic.session.HANDOVER_SECONDS", 20.0)
    async with world(mortal.socket, tmp_path) as chat:
        other = await chat.add_node()
        alice = await chat.login(1001)
        async with raw_user(chat, 1002) as older:
            await older.expect("connected")
            held_by = chat.gateway.hub.get(1002)
            assert held_by is not None
            await until(lambda: chat.gateway.delivery.is_safe_with(held_by, 1))
            mortal.kill()
            await until(lambda: not other.pipeline.healthy and not chat.gateway.pipeline.healthy)
            newer = await chat.dial(1002, node=other)
            await newer.expect("connected")
            client = other.hub.get(1002)
            assert client is not None
            await until(lambda: other.catch_up.step(client) is Step.END)
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
            await until(lambda: "m-2" in other.catch_up.held(client))
            for call in kicks:
                kicked(*call)
            seen = [(await newer.expect("chat"))["msgId"] for _ in range(2)]
            assert seen == ["m-1", "m-2"]


@pytest.mark.gen_test
async def test_a_connection_that_ends_in_a_catch_up_leaves_the_queue_to_what_is_new(
    make_world: MakeWorld,
) -> None:
    """The page under way is known to the Message service; in the queue it would hide the rest."""
    async with make_world(rate_limit=0) as world:
        alice, carol = await world.login(1001), await world.login(1003)
        old = [f"old-{number:03}" for number in range(150)]
        for msg_id in old:
            await alice.chat(1003, "hello", msgId=msg_id)
        for msg_id in old:
            await carol.expect("chat", msgId=msg_id)
        before = world.gateway.hub.get(1003)
        assert before is not None
        await until(lambda: not len(before.ledger))
        await carol.connection.close()
        await until(lambda: 1003 not in world.gateway.hub)

        other = await world.add_node()
        dave = await world.login(1002, node=other)
        async with raw_user(world, 1003, query="?resume=0") as again:
            page = {msg_id: await again.expect("chat", msgId=msg_id) for msg_id in old[:100]}
            # While the rest waits for a confirmation, live messages wait behind it: one of this
            # node, one that another node has queued, and one that the page has brought already.
            await alice.chat(1003, "hello", msgId="new-1")
            await dave.chat(1003, "hello", msgId="new-2")
            client = world.gateway.hub.get(1003)
            assert client is not None
            catch_up = world.gateway.catch_up
            await until(lambda: catch_up.held(client) == ["new-1", "new-2"])
            live = Delivery(b"{}", page["old-050"]["id"], "old-050", from_user_id=1001)
            assert catch_up.hold(client, live) is Hold.HELD
        await queue_is(world, 3)
        _, pushed = await window(await world.dial(1003))
        assert pushed == ["old-050", "new-1", "new-2"]


@pytest.mark.gen_test
async def test_a_catch_up_that_ends_early_does_not_let_go_what_waits_for_another_reason(
    make_world: MakeWorld,
) -> None:
    """As when Redis is back, and the queue is yet to be read, while unread messages come."""
    async with make_world() as world:
        await leave_messages(world, 3)
        alice = await world.login(1001)
        async with raw_user(world, 1003, query="?resume=0") as carol:
            for _ in range(3):
                await carol.expect("chat")
            client = world.gateway.hub.get(1003)
            assert client is not None
            catch_up = world.gateway.catch_up
            catch_up.pause(client, Wait.RECLAIM)
            carol.send_frame(Opcode.PONG, await carol.next_ping())
            await until(lambda: catch_up.step(client) is Step.HOLD)
            await alice.chat(1003, "live", msgId="live")
            assert catch_up.held(client) == ["live"]
            catch_up.resume(client, Wait.RECLAIM)
            await carol.expect("chat", msgId="live")


@pytest.mark.gen_test
async def test_resume_after_a_death_brings_all_though_the_service_tells_of_a_part(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "REPLY_BYTES", 1000)
    async with make_world(rate_limit=0) as world:
        ids = await die_with(world, 150)
        bob = await world.dial(1002, world.url(1002, resume=str(ids[119])))
        assert [(await bob.expect("chat"))["id"] for _ in ids] == ids


@pytest.mark.gen_test
async def test_resume_after_a_death_brings_nothing_twice_if_nothing_older_is_unread(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the service tells of a part, and that part goes beyond the id."""
    monkeypatch.setattr(history, "REPLY_BYTES", 1000)
    async with make_world(rate_limit=0) as world:
        ids = await die_with(world, 100)
        await world.execute(update(messages).where(messages.c.id <= ids[19]).values(status=READ))
        bob = await world.dial(1002, world.url(1002, resume=str(ids[19])))
        assert [(await bob.expect("chat"))["id"] for _ in ids[20:]] == ids[20:]


@pytest.mark.gen_test
async def test_all_is_marked_as_read_when_all_has_come(make_world: MakeWorld) -> None:
    """What is read is not brought again: this must not be said of what is on its way."""
    async with make_world(rate_limit=0) as world:
        ids = await die_with(world, 150)
        alice = await world.login(1001)
        async with raw_user(world, 1002) as bob:
            for _ in range(100):
                await bob.expect("chat")
            bob.send("read", peerId=1001)
            bob.send("ping")
            await bob.expect("pong")
        await until(lambda: 1002 not in world.gateway.hub)
        again = await world.dial(1002)
        await again.send("read", peerId=1001)
        assert [(await again.expect("chat"))["id"] for _ in ids] == ids
        await alice.expect("read", userId=1002)


@pytest.mark.gen_test
async def test_what_was_queued_unheard_is_found_behind_what_is_under_way(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world(rate_limit=0) as world:
        other = await world.add_node()
        dave = await world.login(1001, node=other)
        lost = [f"lost-{number:03}" for number in range(120)]
        heard = [f"heard-{number:03}" for number in range(30)]
        async with raw_user(world, 1002) as bob:
            await bob.expect("connected")
            await unheard(monkeypatch, dave, 1002, lost)
            for msg_id in heard:
                await dave.chat(1002, "x", msgId=msg_id)
            for msg_id in heard:
                await bob.expect("chat", msgId=msg_id)
            recover(world.gateway)
            for msg_id in lost[:100]:
                await bob.expect("chat", msgId=msg_id)


@pytest.mark.gen_test
async def test_a_queue_that_cannot_be_read_is_made_up_for_from_the_message_service(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was slow for a moment, and never away: no recovery will come."""
    newer = OfflineMessages.newer
    failures: list[Unavailable] = []

    async def slow(self: OfflineMessages, client: Any) -> Any:
        if failures:
            raise failures.pop()
        return await newer(self, client)

    monkeypatch.setattr(OfflineMessages, "newer", slow)
    async with make_world() as world:
        other = await world.add_node()
        dave, bob = await world.login(1001, node=other), await world.login(1002)
        await until(world.gateway.bus.ready.is_set)
        await unheard(monkeypatch, dave, 1002, ["m-1"])
        failures.append(Unavailable("Redis did not answer in time"))
        recover(world.gateway)
        await until(lambda: not failures)
        await dave.chat(1002, "x", msgId="m-2")
        assert [(await bob.expect("chat"))["msgId"] for _ in range(2)] == ["m-1", "m-2"]


@pytest.mark.gen_test
async def test_each_outage_has_what_is_unread_brought_first(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = False
    monkeypatch.setattr(RedisBus, "redis_down", property(lambda _: away))
    async with make_world(rate_limit=0) as world:
        other = await world.add_node()
        dave = await world.login(1001, node=other)
        carol, bob = await world.login(1003), await world.login(1002)
        away = True
        await carol.chat(1002, "x", msgId="m-1")
        await bob.expect("chat", msgId="m-1")
        away = False
        recover(world.gateway)
        client = world.gateway.hub.get(1002)
        assert client is not None
        catch_up = world.gateway.catch_up
        await until(lambda: catch_up.step(client) is Step.END and not len(client.ledger))
        await unheard(monkeypatch, dave, 1002, ["m-2"])
        away = True
        again = await world.login(1001)
        await again.chat(1002, "x", msgId="m-3")
        seen = [(await bob.expect("chat"))["msgId"]]
        while "m-3" not in seen:
            seen.append((await bob.expect("chat"))["msgId"])
        assert "m-2" in seen
        away = False
