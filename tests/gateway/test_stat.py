"""What was slow has a line, and each minute has one, with the figures of the counters."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.config.log import LogConf
from skyeim_ws.gateway.stat import Minutes
from tests.gateway.conftest import MakeWorld
from tests.waiting import until


@pytest.mark.gen_test
async def test_a_minute_has_the_figures_of_what_has_happened(make_world: MakeWorld) -> None:
    async with make_world() as world:
        waiting = {"connections": 2, "redis_healthy": 1, "sends_ahead": 3, "handshakes": 0}
        minutes = Minutes(world.gateway.stats, lambda: waiting, world.gateway.writer)
        alice, bob = await world.login(1001), await world.login(1002)
        for number in range(3):
            await alice.chat(1002, "hello", msgId=f"m{number}")
            await alice.expect("ack", status="delivered")
            await bob.expect("chat")
        await bob.send("group_chat", groupId="g_demo", content="x")
        await alice.expect("group_chat")
        await world.login(1002)
        assert await bob.close_code() == 4001
        await until(lambda: world.gateway.stats.connections_closed == 1)
        line: dict[str, Any] = minutes.line()
        wanted = {
            "connections": 2,
            "messages": 4,
            "logins": 3,
            "logouts": 1,
            "kicked": 1,
            "confirmed": 3,
            "fan_outs": 1,
            "closes": {"4001": 1},
            "queues": {"sends_ahead": 3},
        }
        assert {name: line[name] for name in wanted} == wanted
        assert line["frames_in"] >= 4
        timed = {"rpc /message.Message/SendBatch", "redis Pipeline", "login", "turn", "batch"}
        assert timed | {"sent", "delivered"} <= line["timings"].keys()
        assert line["timings"]["login"].startswith("3 x, p50 ")
        assert line["memory_mb"] > 10
        assert line["descriptors"] > 10
        line = minutes.line()
        assert {name: line[name] for name in ("messages", "logins", "closes")} == {
            "messages": 0,
            "logins": 0,
            "closes": {},
        }


@pytest.mark.gen_test
async def test_what_was_slow_is_named(make_world: MakeWorld) -> None:
    async with make_world(settings={"log": LogConf(slow_threshold=1e-6)}) as world:
        with capture_logs() as logs:
            alice, bob = await world.login(1001), await world.login(1002)
            await alice.send("group_chat", groupId="g_demo", content="x")
            await bob.expect("group_chat")
            await asyncio.sleep(0)
        slow = [line for line in logs if line["event"].startswith("slow_")]
        found = {line["event"] for line in slow}
        assert {"slow_rpc", "slow_redis", "slow_batch", "slow_members", "slow_login"} <= found
        assert all(line["duration"].endswith("ms") for line in slow)
        batch = next(line for line in slow if line["event"] == "slow_batch")
        assert (batch["messages"], batch["waiting"]) == (1, 0)
        assert {"message", "friend", "group"} & {line.get("callee") for line in slow}
