"""What one delivery, one idle connection and one message cost, in calls, sends and bytes.

Times say little on a busy machine; counts are the same everywhere, and grow with whatever is added
to a path that every frame takes. Who has a reason to raise a bound measures with `make bench` too.
"""

import asyncio
import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from skyeim_ws import conn
from skyeim_ws.config.telemetry import TelemetryConf
from skyeim_ws.config.trace import TraceConf
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.heartbeat import Heartbeat
from skyeim_ws.rpc.service import Service
from skyeim_ws.store.announcements import TOLD_KEY
from skyeim_ws.store.shard import Command, Shard
from tests.conn.endpoint import Endpoint, endpoint
from tests.conn.test_client import read_texts, text
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import RawUser, raw_user
from tests.waiting import until, until_async
from tests.world import World

MESSAGE_CALLS = 73
"""Of functions of the package, for a private message between two users of one node; 67 now."""

TRACE_CALLS = {1e-9: 22, 1.0: 40}
"""Besides, where `Trace.Sampler` is so: none chosen or all; 17 and 32 now. None where it is 0."""

SPAN_CALLS = 16
"""Besides, where `Telemetry.Sampler` is 1; 10 now. Without a trace there are none."""

CROWD = 50
LOGIN_CALLS = 300
"""Of functions of the package, for a login among that many, up to its news for friends; 270 now."""

LOGIN_COMMANDS = 13
"""To Redis, for such a login, the periodic ones included; 12 now."""

CROWD_WRITES, CROWD_LOOK_UPS = 90, 16
"""Writes to Redis, and calls of the services, for all of them; 20 to 60 and 10 now."""

LONE_CALLS = 225
"""Of functions of the package, for one message alone, our services included; 206 now."""

GROUP_CALLS = 225
"""Likewise for one message alone to a group of three; 205 now."""

HELD_BYTES = 2_200
"""In Python objects, for a connection that says nothing; 1,700 now."""

PACKAGE = str(Path(conn.__file__).parent.parent)

PATH_OF_A_MESSAGE = tuple(f"{PACKAGE}/{room}/" for room in ("conn", "logic", "rpc", "store"))

LOOP_WORK = {"call_soon", "call_later", "call_at", "create_task", "create_future", "wait"}
SYSTEM_CALLS = {"send", "recv", "poll"}


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Count `python` calls of the package's functions, and `c` calls in them, in this thread."""
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(PACKAGE):
            counts["python" if event == "call" else "c"] += 1

    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(None)


async def opened(running: Endpoint, count: int) -> list[tuple[RawUser, Client]]:
    """Connect so many users, to each of whom something has been written."""
    ends = [await running.dial(user_id) for user_id in range(1, count + 1)]
    for user, client in ends:
        client.send(text("opening"))
        await read_texts(user, 1)
    return ends


async def fan_out_calls(receivers: int, burst: int) -> Counter[str]:
    """Return what a burst of group messages to so many takes, their writing included."""
    async with endpoint() as running:
        ends = await opened(running, receivers)
        members = frozenset(range(1, receivers + 1))
        running.hub.fan_out_group(members, text("first"), group_id="g", seq=1, sender_id=0)
        await asyncio.sleep(0)
        flusher = running.context.flusher
        with calls() as counts:
            for seq in range(2, burst + 2):
                running.hub.fan_out_group(
                    members, text("hello"), group_id="g", seq=seq, sender_id=0
                )
            flusher.flush()
        for user, _ in ends:
            assert await read_texts(user, burst + 1) == ["first", *["hello"] * burst]
        return counts


@pytest.mark.gen_test
@pytest.mark.parametrize("burst", [1, 10])
async def test_a_delivery_in_a_group_is_one_send_and_no_call_of_ours(burst: int) -> None:
    """However many messages meet: what grows with the receivers is the send alone."""
    few, many = await fan_out_calls(10, burst), await fan_out_calls(50, burst)
    assert (many["python"] - few["python"]) / 40 == 0
    assert (many["c"] - few["c"]) / 40 == 1


@pytest.mark.gen_test
async def test_a_private_delivery_takes_few_calls_and_one_send() -> None:
    async with endpoint(counted=True) as running:
        [(user, client)] = await opened(running, 1)
        sends = running.counted(client)
        with calls() as counts:
            for _ in range(10):
                client.send(text("hello"))
            running.context.flusher.flush()
        await read_texts(user, 10)
        assert counts["python"] <= 10 * 4 + 12  # four for each frame, the rest for the write
        assert len(sends.sizes) == 1


@pytest.mark.gen_test
async def test_a_sweep_looks_at_no_connection_whose_time_has_not_come() -> None:
    async with endpoint(ping_interval=3_600, pong_timeout=7_200) as running:
        await opened(running, 30)
        for client in running.hub:
            running.context.timer_wheel.discard(client)
            client.next_check = running.context.clock() + 1_800
            running.context.timer_wheel.add(client)
        heartbeat = Heartbeat(running.context)
        with calls() as counts:
            heartbeat.sweep()
        assert counts["python"] <= 5


@pytest.mark.gen_test
async def test_an_idle_connection_holds_little() -> None:
    """The request, its headers and the machinery that read them are gone."""
    async with endpoint() as running:
        first = [await running.upgrade(user_id) for user_id in range(1, 11)]
        gc.collect()
        tracemalloc.start()
        try:
            held = [await running.upgrade(user_id) for user_id in range(101, 201)]
            await asyncio.sleep(0)
            gc.collect()
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        ours = snapshot.filter_traces(
            [
                tracemalloc.Filter(True, f"*/{part}/*")
                for part in ("skyeim_ws", "tornado", "asyncio")
            ]
        )
        per_connection = sum(trace.size for trace in ours.traces) / len(held)
        assert per_connection <= HELD_BYTES
        for each in (*first, *held):
            each.close()


async def message_calls(make_world: MakeWorld, **settings: Any) -> float:
    """Return what a message takes from its sender's frame to its confirmation, both acks too."""
    async with make_world(rate_limit=0, max_in_flight=1_000, settings=settings) as world:
        alice, bob = await world.login(1001), await world.login(1002)

        async def exchange(count: int) -> None:
            for _ in range(count):
                await alice.send("chat", toUserId=1002, content="hello")
            for _ in range(count):
                await alice.expect("ack", status="delivered")
                await bob.expect("chat")

        await exchange(20)
        with calls() as counts:
            await exchange(200)
        return counts["python"] / 200


@pytest.mark.gen_test
async def test_a_message_takes_a_bounded_number_of_our_calls(make_world: MakeWorld) -> None:
    assert await message_calls(make_world) <= MESSAGE_CALLS


@contextmanager
def wakes() -> Iterator[Counter[str]]:
    """Count by name what the gateway asks of the event loop and of the sockets of its clients."""
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            name, caller = frame.f_code.co_name, frame.f_back
            if name not in LOOP_WORK or "asyncio" not in frame.f_code.co_filename:
                return
        elif event == "c_call" and what.__name__ in SYSTEM_CALLS:
            name, caller = what.__name__, frame
        else:
            return
        if caller is not None and caller.f_code.co_filename.startswith(PATH_OF_A_MESSAGE):
            counts[name] += 1

    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(None)


@pytest.mark.gen_test
async def test_a_lone_message_waits_for_nothing_but_the_storage_and_its_receiver(
    make_world: MakeWorld,
) -> None:
    """Three turns of the loop: the message, the answer of the storage, the pong; and no more."""
    async with make_world(rate_limit=0, confirm_interval=0.01) as world:
        alice, bob = await world.login(1001), await world.login(1002)

        async def exchange(count: int) -> None:
            for _ in range(count):
                await alice.send("chat", toUserId=1002, content="hello")
                await alice.expect("ack", status="delivered")
                await bob.expect("chat")
                await asyncio.sleep(0.01)  # or the next ping would wait

        await exchange(5)
        with calls() as all_calls:
            await exchange(20)
        assert all_calls["python"] / 20 <= LONE_CALLS
        with wakes() as counts:
            await exchange(20)
        # Rounded: sweeps and what else has its own time are no part of a message.
        each = {name: round(count / 20) for name, count in counts.items()}
        assert {name: count for name, count in each.items() if count} == {
            "recv": 2,  # the message, the pong
            "send": 3,  # `sent`, the message with its ping, `delivered`
            "poll": 2,
        }


@pytest.mark.gen_test
async def test_a_lone_message_to_a_group_takes_a_bounded_number_of_our_calls(
    make_world: MakeWorld,
) -> None:
    """What Redis is told of it and what is heard of it included; no task waits for Redis."""
    async with make_world(rate_limit=0) as world:
        alice, *others = [await world.login(user_id) for user_id in (1001, 1002, 1003)]

        async def exchange(count: int) -> None:
            for _ in range(count):
                await alice.send("group_chat", groupId="g_demo", content="hello")
                await alice.expect("ack", status="sent")
                for each in others:
                    await each.expect("group_chat")

        await exchange(5)
        with calls() as all_calls:
            await exchange(20)
        assert all_calls["python"] / 20 <= GROUP_CALLS
        with wakes() as counts:
            await exchange(20)
        each = {name: round(count / 20) for name, count in counts.items()}
        assert {name: count for name, count in each.items() if count} == {
            "recv": 1,
            "send": 3,  # `sent`, and one to each of the others
            "poll": 1,
        }


@pytest.mark.gen_test
@pytest.mark.parametrize(("sampler", "more"), TRACE_CALLS.items())
async def test_a_trace_costs_little_where_it_is_on(
    make_world: MakeWorld, sampler: float, more: int
) -> None:
    traced = await message_calls(make_world, trace=TraceConf(sampler=sampler))
    assert traced <= MESSAGE_CALLS + more


@pytest.mark.gen_test
async def test_a_span_costs_little_where_it_is_sampled(make_world: MakeWorld) -> None:
    traced = await message_calls(make_world, telemetry=TelemetryConf(sampler=1.0))
    assert traced <= MESSAGE_CALLS + SPAN_CALLS


@pytest.mark.gen_test
async def test_a_login_in_a_crowd_takes_few_calls_commands_and_look_ups(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that comes at once shares writes to Redis, and the look-ups of friends and groups."""
    writes: list[int] = []
    asked: Counter[str] = Counter()
    begin, send, call = Shard.begin, Shard.send, Service.call

    def counted_begin(self: Shard, commands: Sequence[Command], *args: Any, **more: Any) -> bool:
        begun = begin(self, commands, *args, **more)
        if begun:
            writes.append(len(commands))
        return begun

    async def counted_send(self: Shard, commands: Sequence[Command], *, durable: bool) -> list[Any]:
        writes.append(len(commands))
        return await send(self, commands, durable=durable)

    async def counted_call(self: Service[Any], *args: Any, **more: Any) -> Any:
        asked["calls"] += 1
        return await call(self, *args, **more)

    monkeypatch.setattr(Shard, "begin", counted_begin)
    monkeypatch.setattr(Shard, "send", counted_send)
    monkeypatch.setattr(Service, "call", counted_call)
    async with make_world(rate_limit=0, login_burst=0) as world:
        gateway = world.gateway
        # Those of the second time have left in order, so nothing of the first has to be caught up.
        for _ in range(2):
            async with AsyncExitStack() as stack:
                writes.clear()
                asked.clear()
                with calls() as counts:
                    came = [raw_user(world, 5_000 + number) for number in range(CROWD)]
                    users = await asyncio.gather(*map(stack.enter_async_context, came))
                    await asyncio.gather(*(user.expect("connected") for user in users))
                    await until_async(partial(all_told, world, CROWD))
            await until(lambda: not len(gateway.hub))
            await until_async(partial(all_told, world, 0))
        assert counts["python"] / CROWD <= LOGIN_CALLS
        assert 1 <= sum(writes) / CROWD <= LOGIN_COMMANDS
        assert len(writes) <= CROWD_WRITES
        assert asked["calls"] <= CROWD_LOOK_UPS


async def all_told(world: World, count: int) -> bool:
    """Whether friends were told of so many users that they are online."""
    return bool(await world.redis.scard(TOLD_KEY) == count)
