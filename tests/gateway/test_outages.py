"""Redis or the services go away and come back: chat goes on, nothing that was promised is lost."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from skyeim_ws.config.rpc import RpcConf
from skyeim_ws.conn.client import Client
from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.shared_state import Claim
from skyeim_ws.ops.build import build
from skyeim_ws.process import valkey
from skyeim_ws.store.keys import session_key
from skyeim_ws.store.sessions import RedisSessions
from tests.gateway.conftest import MakeWorld
from tests.gateway.masters import ask_masters
from tests.rpc.servers import hang, serving
from tests.store.servers import Server, running_server
from tests.waiting import until, until_async
from tests.world import User, World
from tests.world import world as run_world

RPC_TIMEOUT = 1_000
"""Milliseconds; what a call may take until its sender is told."""


@pytest.fixture
def mortal_redis() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def make_mortal_world(mortal_redis: Server, tmp_path: Path) -> MakeWorld:
    """Run a chat over a Redis that the test may kill."""
    return partial(run_world, mortal_redis.socket, tmp_path)


async def kill(server: Server, world: World) -> None:
    server.kill()
    await until(lambda: not world.gateway.pipeline.healthy)


async def bring_back(server: Server, world: World) -> None:
    """Start Redis on the same data, and wait until the gateway has noticed and caught up."""
    server.start()
    await until_async(lambda: valkey.is_ready(server.socket))
    pipeline = world.gateway.pipeline
    await until(lambda: pipeline.healthy and not pipeline.waiting)


async def health(world: World) -> dict[str, Any]:
    answer = await world.get("/health")
    assert answer.code == 200
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def is_well(world: World) -> bool:
    return bool((await health(world))["status"] == "ok")


async def members_of(world: World, key: str) -> set[int]:
    """Return a set of users, by a connection that the outage has not touched."""
    return {int(member) for member in await world.redis.smembers(key)}


async def refused_all(user: User, msg_ids: list[str]) -> None:
    """Wait until the user has been told that these are not kept, and may be sent again."""
    for msg_id in msg_ids:
        failed = await user.expect("ack", msgId=msg_id)
        assert (failed["status"], failed["reason"]) == ("failed", "rpc_error")


# Redis.


@pytest.mark.gen_test
async def test_without_redis_chat_goes_on_and_the_queue_is_whole_when_it_is_back(
    make_mortal_world: MakeWorld, mortal_redis: Server
) -> None:
    async with make_mortal_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1003, "while all is well", msgId="kept-1")
        assert await health(world) == {"status": "ok", "online": 2, **build()}
        await kill(mortal_redis, world)

        away = {"status": "degraded", "online": 2, "reasons": ["redis_away"], **build()}
        assert await health(world) == away
        await alice.chat(1002, "hello", msgId="private-1")
        await bob.expect("chat", msgId="private-1")
        await alice.send("group_chat", groupId="g_demo", content="hello", msgId="group-1")
        await bob.expect("group_chat", msgId="group-1")
        # `sent` would be no promise: should the gateway die as well, nobody would know of them.
        for number in (2, 3):
            await alice.send("chat", toUserId=1003, content="x", msgId=f"kept-{number}")
        await refused_all(alice, ["kept-2", "kept-3"])
        await bob.connection.close()
        await until(lambda: 1002 not in world.gateway.hub)

        await bring_back(mortal_redis, world)
        await until_async(lambda: is_well(world))
        assert await health(world) == {"status": "ok", "online": 1, **build()}
        carol = await world.dial(1003)
        await carol.expect("offline_messages", totalCount=3, pushCount=3)
        for number in (1, 2, 3):
            assert (await carol.expect("chat"))["msgId"] == f"kept-{number}"
        await alice.chat(1003, "x", msgId="kept-3")
        await carol.expect("chat", msgId="kept-3")
        # Who left meanwhile is gone, and whoever stayed never lost a connection.
        await until_async(lambda: _are_online(world, {1001, 1003}))
        await alice.quiet()
        assert world.gateway.stats.connections_opened == 3


@pytest.mark.gen_test
async def test_who_logs_in_without_redis_gets_what_is_unread_then_what_is_live(
    make_mortal_world: MakeWorld, mortal_redis: Server
) -> None:
    """Else what waits for Redis somewhere would come behind a later message of its sender."""
    async with make_mortal_world() as world:
        alice = await world.login(1001)
        await alice.chat(1003, "queued", msgId="queued-1")
        await kill(mortal_redis, world)
        await alice.send("chat", toUserId=1003, content="kept", msgId="kept-1")
        await refused_all(alice, ["kept-1"])

        carol = await world.dial(1003)
        assert (await carol.expect("connected"))["onlineCount"] == 2
        await alice.expect("online", userId=1003)
        # That the receiver has it is as good as the queue, and comes before `delivered`.
        await alice.send("chat", toUserId=1003, content="live", msgId="live-1")
        for msg_id in ("queued-1", "kept-1", "live-1"):
            assert (await carol.expect("chat"))["msgId"] == msg_id
        assert (await alice.expect("ack", msgId="live-1"))["status"] == "sent"
        await alice.expect("ack", msgId="live-1", status="delivered")
        assert {frame["type"] for frame in await carol.quiet()} <= {"online"}

        await bring_back(mortal_redis, world)
        await until_async(lambda: _is_online(world, 1003))
        # What was confirmed leaves the queue, although it came from elsewhere.
        await until_async(lambda: _queue_is_empty(world, 1003))


async def _are_online(world: World, users: set[int]) -> bool:
    keys = ("online:users", "group:online:g_demo")
    return all([await members_of(world, key) == users for key in keys])


async def _is_online(world: World, user_id: int) -> bool:
    present = [await members_of(world, key) for key in ("online:users", "group:online:g_demo")]
    return all(user_id in users for users in present)


async def _queue_is_empty(world: World, user_id: int) -> bool:
    return not await world.redis.exists(f"offline:private:{user_id}")


@pytest.mark.gen_test
async def test_when_the_others_may_take_this_node_for_dead_a_message_is_safe_with_its_receiver(
    make_mortal_world: MakeWorld, mortal_redis: Server
) -> None:
    """Chat goes on, but `sent` waits until the client has confirmed, and comes first."""
    async with make_mortal_world(node_renew_interval=0.05, node_dead_after=0.3) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await kill(mortal_redis, world)
        receiver = world.gateway.hub.get(1002)
        assert receiver is not None
        delivery = world.gateway.delivery
        await until(lambda: not delivery.is_safe_with(receiver, 1))
        for number in range(3):
            await alice.send("chat", toUserId=1002, content="hello", msgId=f"m-{number}")
        for number in range(3):
            await bob.expect("chat", msgId=f"m-{number}")
            assert (await alice.expect("ack", msgId=f"m-{number}"))["status"] == "sent"
            await alice.expect("ack", msgId=f"m-{number}", status="delivered")
        await bring_back(mortal_redis, world)
        await until(lambda: delivery.is_safe_with(receiver, 1))


@pytest.mark.gen_test
async def test_presence_is_written_anew_to_a_redis_that_has_lost_everything(
    make_mortal_world: MakeWorld, mortal_redis: Server
) -> None:
    async with make_mortal_world() as world:
        for user_id in (1001, 1002):
            await world.login(user_id)
        await until_async(lambda: _is_online(world, 1002))
        await world.redis.flushall()
        await kill(mortal_redis, world)
        await bring_back(mortal_redis, world)
        for user_id in (1001, 1002):
            await until_async(lambda user=user_id: _is_online(world, user))  # type: ignore[misc]


@pytest.mark.gen_test
async def test_an_emptied_redis_is_noticed_at_once(make_world: MakeWorld) -> None:
    """Not with the next sign of life: what was lost with a queue is to come before what is live."""
    rare = {"node_renew_interval": 3600.0, "node_dead_after": 7200.0}
    async with make_world(**rare) as world:
        bob = await world.login(1002)

        async def is_told() -> bool:
            told = await ask_masters(world, "INFO", "clients")
            return all(int(each["tracking_clients"]) > 0 for each in told)

        await until_async(is_told)
        await world.redis.flushall()
        await until_async(lambda: world.redis.exists(session_key(1002)))
        await bob.quiet()


@pytest.mark.gen_test
async def test_a_full_buffer_drops_the_oldest_says_so_once_and_counts_them(
    make_mortal_world: MakeWorld, mortal_redis: Server
) -> None:
    async with make_mortal_world(offline_buffer_size=5) as world:
        alice = await world.login(1001)
        await until_async(lambda: _is_online(world, 1001))
        await kill(mortal_redis, world)
        with capture_logs() as logs:
            for number in range(8):
                await alice.send("chat", toUserId=1003, content="x", msgId=f"m-{number}")
            await refused_all(alice, [f"m-{number}" for number in range(8)])
        dropped = [line for line in logs if line["event"] == "redis_operations_dropped"]
        assert [(line["log_level"], line["buffer_size"]) for line in dropped] == [("error", 5)]
        pipeline = world.gateway.pipeline
        assert (pipeline.dropped, pipeline.waiting) == (3, 5)

        await bring_back(mortal_redis, world)
        carol = await world.dial(1003)
        await carol.expect("offline_messages", totalCount=5)
        for number in range(3, 8):
            assert (await carol.expect("chat"))["msgId"] == f"m-{number}"
        # The message store still has what the queue has not.
        unread = json.loads((await world.get("/message/offline", 1003)).body)["data"]
        assert [message["msgId"] for message in unread["list"]] == [f"m-{n}" for n in range(8)]
        assert pipeline.dropped == 3


@pytest.mark.gen_test
async def test_a_login_that_redis_did_not_answer_in_time_is_made_up_for(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was slow for a moment, and never away: no recovery will come."""
    claim = RedisSessions.claim
    failures = [Unavailable("Redis did not answer in time")]

    async def slow(self: RedisSessions, user_id: int, conn_id: str, limit: int) -> Claim:
        if failures:
            raise failures.pop()
        return await claim(self, user_id, conn_id, limit)

    async with make_world() as world:
        alice = await world.login(1001)
        await alice.chat(1002, "queued", msgId="queued-1")
        monkeypatch.setattr(RedisSessions, "claim", slow)
        bob = await world.dial(1002)
        await bob.expect("connected")
        await bob.expect("chat", msgId="queued-1")
        assert "offline_messages" not in [frame["type"] for frame in bob.skipped]
        client = world.gateway.hub.get(1002)
        assert client is not None
        await until_async(lambda: _has_session(world, client))
        assert session_of(client).in_node_sessions


async def _has_session(world: World, client: Client) -> bool:
    session = await world.redis.get(session_key(client.user_id))
    return client.conn_id in str(session)


# The services.


@pytest.mark.gen_test
async def test_without_services_sends_fail_in_time_and_the_same_msg_id_succeeds_later(
    make_world: MakeWorld,
) -> None:
    async with make_world(rpc_timeout=RPC_TIMEOUT) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await world.stop_services()
        await alice.send("chat", toUserId=1002, content="hello", msgId="private-1")
        await alice.send("group_chat", groupId="g_demo", content="hello", msgId="group-1")
        for msg_id in ("private-1", "group-1"):
            failed = await alice.expect("ack", msgId=msg_id)
            assert (failed["status"], failed["reason"]) == ("failed", "rpc_error")
            assert (await alice.expect("error"))["msgId"] == msg_id
        await alice.send("read", peerId=1002)
        assert (await alice.expect("error"))["code"] == 30011

        # A login needs none of them.
        carol = await world.login(1003)
        assert {frame["type"] for frame in await carol.quiet()} <= {"online"}
        paths = ("/message/group/sync?groupId=g_demo", "/message/offline")
        for answer in await asyncio.gather(*(world.get(path, 1001) for path in paths)):
            assert (answer.code, json.loads(answer.body)["code"]) == (503, 30011)
        away = [f"{name}_service_away" for name in ("message", "friend", "group")]
        assert (await health(world))["reasons"] == away

        await world.start_services()
        private = await alice.persist("chat", msg_id="private-1", toUserId=1002)
        group = await alice.persist("group_chat", msg_id="group-1", groupId="g_demo")
        message = await bob.expect("chat", msgId="private-1")
        assert message["id"] == private["id"]
        message = await bob.expect("group_chat", msgId="group-1")
        assert (message["id"], message["seq"]) == (group["id"], group["seq"])
        again = [f for f in await bob.quiet() if f["type"] in ("chat", "group_chat")]
        assert again == []
        assert (await world.get("/message/group/sync?groupId=g_demo", 1001)).code == 200


@pytest.mark.gen_test
async def test_a_service_that_never_answers_fails_what_waits_for_it_at_the_deadline(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    methods = {"SendBatch": hang, "GetUnreadMessages": hang, "MarkAsRead": hang}
    async with serving(f"unix:{tmp_path}/hanging.sock", message=methods) as address:
        hanging = RpcConf(endpoints=(address,), timeout=300)
        async with make_world(settings={"message_rpc": hanging}) as world:
            alice = await world.login(1001)
            await alice.send("chat", toUserId=1002, content="hello", msgId="m-1")
            await alice.send("read", peerId=1002)
            frames = [await alice.receive() for _ in range(3)]
            assert sorted(frame["type"] for frame in frames) == ["ack", "error", "error"]
            [failed] = [frame["data"] for frame in frames if frame["type"] == "ack"]
            assert (failed["status"], failed["reason"]) == ("failed", "rpc_error")
            errors = [frame["data"] for frame in frames if frame["type"] == "error"]
            assert [error["code"] for error in errors] == [30011, 30011]
            assert {error.get("msgId") for error in errors} == {"m-1", None}
            assert (await world.get("/message/offline", 1001)).code == 503
            assert world.gateway.sending.under_way == 0


class FailingMembers:
    """A Group service that knows the members of `g_demo`, but fails to tell them at first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def get_member_list(self, request: Any, context: Any) -> pb.GetMemberListResp:
        if self.failures:
            self.failures -= 1
            await context.abort(StatusCode.INTERNAL, "out of order")
        members = [pb.MemberInfo(user_id=user_id) for user_id in (1001, 1002, 1003)]
        return pb.GetMemberListResp(members=members, total=len(members))

    async def check_membership(self, request: Any, context: Any) -> pb.CheckMembershipResp:
        return pb.CheckMembershipResp(is_member=True)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("failures", "received"),
    [
        pytest.param(2, [1, 2, 3], id="and the messages wait for it"),
        pytest.param(4, [2, 3], id="and a message that waited too long is left to the sync"),
    ],
)
async def test_a_look_up_of_members_may_fail_for_a_while(
    make_world: MakeWorld, tmp_path: Path, failures: int, received: list[int]
) -> None:
    members = FailingMembers(failures)
    methods = {
        "GetMemberList": members.get_member_list,
        "CheckMembership": members.check_membership,
    }
    async with (
        serving(f"unix:{tmp_path}/groups.sock", group=methods) as address,
        make_world(group_rpc=RpcConf(endpoints=(address,), timeout=5_000)) as world,
    ):
        alice, bob = await world.login(1001), await world.login(1002)
        for number in range(3):
            await alice.send("group_chat", groupId="g_demo", content="hello", msgId=f"m-{number}")
        for seq in received:
            assert (await bob.expect("group_chat"))["seq"] == seq
        assert world.gateway.stats.group_dropped == 3 - len(received)
        synced = await world.get("/message/group/sync?groupId=g_demo&seq=0", 1002)
        found = json.loads(synced.body)["data"]["list"]
        assert [message["seq"] for message in found] == [1, 2, 3]


@pytest.mark.gen_test
async def test_a_drain_while_redis_is_away_leaves_nobody_online(
    make_mortal_world: MakeWorld, mortal_redis: Server
) -> None:
    async with make_mortal_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await kill(mortal_redis, world)
        world.gateway.drain.begin()
        assert (await alice.close_code(), await bob.close_code()) == (1001, 1001)
        await until(lambda: len(world.gateway.hub) == 0)
        await bring_back(mortal_redis, world)

        async def nobody_is_online() -> bool:
            return not await members_of(world, "online:users")

        await until_async(nobody_is_online)
        world.gateway.drain.end()
        await world.login(1001)
