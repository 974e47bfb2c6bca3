"""What operators see of a message's way, over two nodes and on every kind of Redis."""

from argparse import Namespace
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import grpc
import pytest

from skyeim_ws.cli.admin import trace as admin_trace
from skyeim_ws.cli.admin.calls import AdminError, connected
from skyeim_ws.config.trace import TraceConf
from skyeim_ws.store.operators import Operators
from skyeim_ws.store.traces import STREAM_KEY
from tests.gateway.conftest import MakeWorld
from tests.gateway.test_admin import operator
from tests.waiting import until, until_async
from tests.world import World


async def show(world: World, operators: Operators, msg_id: str, **named: Any) -> Any:
    """Return what the command says of a message."""
    words = Namespace(**({"user": None, "peer": None, "group": None} | named), msg_id=msg_id)
    async with AsyncExitStack() as stack:

        def channel() -> Awaitable[grpc.aio.Channel]:
            return stack.enter_async_context(connected([world.service_address]))

        return await admin_trace.show(channel, operators, words)


async def lines(
    world: World, operators: Operators, msg_id: str, *steps: str
) -> list[dict[str, Any]]:
    """Return the lines of a message once all of these steps are among them."""
    found: list[dict[str, Any]] = []

    async def complete() -> bool:
        read, _ = await operators.trace(msg_id)
        return set(steps) <= {line.step for line in read}

    await until_async(complete)
    found = (await show(world, operators, msg_id)).data["trace"]
    return found


def steps(found: list[dict[str, Any]]) -> list[str]:
    return [line["step"] for line in found]


def traced(**conf: Any) -> dict[str, Any]:
    return {"trace": TraceConf(**conf)}


@pytest.mark.gen_test
async def test_a_message_between_two_nodes_has_lines_of_both(make_world: MakeWorld) -> None:
    async with make_world(settings=traced(sampler=1.0)) as world, operator(world) as operators:
        other = await world.add_node()
        await until(other.bus.ready.is_set)
        alice = await world.login(1001)
        bob = await world.login(1002, url=world.url(1002, other))
        ack = await alice.chat(1002, "for nobody else's eyes", msgId="m-1")
        await bob.expect("chat", msgId="m-1")
        await alice.expect("ack", msgId="m-1", status="delivered")
        found = await lines(world, operators, "m-1", "confirmed", "queued", "sent")
        here = [line for line in found if line["user"] == 1001]
        there = [line for line in found if line["step"] in ("told", "written", "confirmed")]
        assert steps(here) == ["accepted", "stored", "sent"]
        assert steps(there) == ["told", "written", "confirmed"]
        assert {line["user"] for line in there} == {1002}
        assert len({line["node"] for line in here} | {line["node"] for line in there}) == 2
        assert here[1]["about"] == {"to": 1002, "id": ack["id"]}
        assert there[1]["about"]["source"] == "queued"
        [to_queue] = [line for line in found if line["step"] == "to_queue"]
        assert to_queue["about"] == {"why": "not_here"}
        answer = await show(world, operators, "m-1")
        assert "eyes" not in answer.text + str(answer.data)
        assert answer.data["findings"][0]["name"] == "confirmed"
        assert await world.redis.ttl(STREAM_KEY) > 0


@pytest.mark.gen_test
async def test_a_message_is_followed_through_the_queue(make_world: MakeWorld) -> None:
    async with make_world(settings=traced(users=(1002,))) as world, operator(world) as operators:
        alice = await world.login(1001)
        await alice.chat(1002, "hello", msgId="m-1")
        found = await lines(world, operators, "m-1", "queued", "sent")
        assert "written" not in steps(found)
        bob = await world.login(1002, url=world.url(1002, confirm="ack"))
        await bob.expect("chat", msgId="m-1")
        await bob.connection.close()
        found = await lines(world, operators, "m-1", "unconfirmed")
        assert steps(found)[-2:] == ["from_queue", "unconfirmed"]
        assert found[-1]["about"] == {"queued_again": False}
        # One of nobody who was chosen.
        await alice.chat(1003, "hello", msgId="m-2")
        await alice.chat(1002, "hello", msgId="m-3")
        await lines(world, operators, "m-3", "queued")
        answer = await show(world, operators, "m-2")
        assert answer.data["trace"] == []
        assert answer.text.startswith("not_traced: ")
        assert "queued: waits for 1003" in answer.text


@pytest.mark.gen_test
async def test_why_a_message_was_refused_is_known(make_world: MakeWorld) -> None:
    settings = traced(sampler=1.0)
    async with (
        make_world(rpc_timeout=500, settings=settings) as world,
        operator(world) as operators,
    ):
        alice = await world.login(1001)
        await alice.send("chat", toUserId=4711, content="hello", msgId="m-1")
        await alice.expect("ack", msgId="m-1", status="failed", reason="not_friend")
        await alice.send("chat", toUserId=1002, content="", msgId="m-2")
        await alice.expect("ack", msgId="m-2", status="failed", reason="invalid")
        found = await lines(world, operators, "m-1", "refused")
        assert found[-1]["about"] == {"to": 4711, "reason": "not_friend", "by": "service"}
        [line] = await lines(world, operators, "m-2", "refused")
        assert line["about"] == {"reason": "invalid", "by": "gateway"}
        assert "storage: no message" in (await show(world, operators, "m-2")).text
        await world.stop_services()
        await alice.send("chat", toUserId=1002, content="hello", msgId="m-3")
        await alice.expect("ack", msgId="m-3", status="failed", reason="rpc_error")
        found = await lines(world, operators, "m-3", "failed")
        assert found[-1]["about"]["why"] == "UNAVAILABLE"
        assert "storage: no business services at" in (await show(world, operators, "m-3")).text
        await world.start_services()
        with pytest.raises(AdminError, match="no message with this msgId is stored"):
            await show(world, operators, "m-4")


@pytest.mark.gen_test
async def test_a_group_message_is_summed_up_by_node(make_world: MakeWorld) -> None:
    settings = traced(sampler=1.0, users=(1003,))
    async with make_world(settings=settings) as world, operator(world) as operators:
        other = await world.add_node()
        await until(other.bus.ready.is_set)
        alice, bob = await world.login(1001), await world.login(1002)
        carol = await world.login(1003, url=world.url(1003, other))
        await alice.send("group_chat", groupId="g_demo", content="all", msgId="m-1")
        for each in (bob, carol):
            await each.expect("group_chat", msgId="m-1")

        async def both() -> bool:
            read, _ = await operators.trace("m-1")
            return [line.step for line in read].count("fanned_out") == 2

        await until_async(both)
        found = await lines(world, operators, "m-1", "written")
        fanned = {line["node"]: line["about"] for line in found if line["step"] == "fanned_out"}
        assert [about["here"] for about in fanned.values()] == [1, 1]
        [written] = [line for line in found if line["step"] == "written"]
        assert (written["user"], written["about"]["group"]) == (1003, "g_demo")
        assert fanned[written["node"]]["seq"] == found[1]["about"]["seq"]


@pytest.mark.gen_test
async def test_a_reload_turns_it_on_and_off(make_world: MakeWorld) -> None:
    async with make_world() as world, operator(world) as operators:
        alice = await world.login(1001)
        await alice.chat(1002, "hello", msgId="m-1")
        world.gateway.reload(replace(world.config, **traced(users=(1001,))))
        await alice.chat(1002, "hello", msgId="m-2")
        await lines(world, operators, "m-2", "sent")
        assert await operators.trace("m-1") == ([], len(await lines(world, operators, "m-2")))
        world.gateway.reload(world.config)
        await alice.chat(1002, "hello", msgId="m-3")
        assert not world.gateway.stats.trace.on


@pytest.mark.gen_test
async def test_lines_wait_while_redis_is_away(make_world: MakeWorld) -> None:
    """They are not lost, nobody waits for them, and there are no more than fit in."""
    settings = traced(sampler=1.0, queue_size=4)
    async with make_world(settings=settings) as world, operator(world) as operators:
        alice, bob = await world.login(1001), await world.login(1002)
        writes: Callable[..., Awaitable[Any]] = world.gateway.pipeline.call
        refused: list[Any] = []

        def call(*commands: Any, **more: Any) -> Any:
            answer = writes(*commands, **more)
            if commands[0][0] == "XADD" and not refused:
                refused.append(answer)
                return writes(("XADD", STREAM_KEY))  # which Redis refuses
            return answer

        world.gateway.pipeline.call = call  # type: ignore[method-assign]
        await alice.chat(1002, "hello", msgId="m-1")
        await alice.expect("ack", msgId="m-1", status="delivered")
        await bob.expect("chat", msgId="m-1")
        trace = world.gateway.stats.trace
        await until(lambda: bool(refused))
        assert (len(trace), trace.dropped) == (4, 1)
        await until(lambda: not len(trace))
        found = await lines(world, operators, "m-1", "accepted", "written")
        # What was written twice is shown once.
        assert steps(found) == ["accepted", "stored", "sent", "written"]
        read, count = await operators.trace("m-1")
        assert (len(read), count) == (4, 8)
