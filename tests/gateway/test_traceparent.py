"""A trace that a client or a caller has begun goes on: in the log, in answers, at the services."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from skyeim_ws.config.log import LogConf
from skyeim_ws.config.telemetry import TelemetryConf
from skyeim_ws.ops.log_lines import add_trace
from tests.gateway.conftest import MakeWorld
from tests.waiting import until
from tests.world import World

CALLER = "00f067aa0ba902b7"
SLOW = LogConf(slow_threshold=1e-9)
"""Everything is slow."""


def trace(number: int) -> str:
    return f"{number:032x}"


def traceparent(number: int) -> str:
    return f"00-{trace(number)}-{CALLER}-00"


@contextmanager
def logged() -> Iterator[list[Any]]:
    with capture_logs(processors=[add_trace]) as entries:
        yield entries


def events(entries: Sequence[Mapping[str, Any]], number: int) -> set[str]:
    """Return the events of a trace."""
    return {each["event"] for each in entries if each.get("trace") == trace(number)}


async def traced(world: World, user: Any, number: object, msg_id: str) -> None:
    """Send a message in a trace, and read that it is stored."""
    data = {"toUserId": 1002, "content": "hello", "msgId": msg_id}
    frame = {"type": "chat", "data": data, "traceparent": number}
    await user.connection.send(json.dumps(frame))
    await user.expect("ack", msgId=msg_id, status="sent")


@pytest.mark.gen_test
async def test_a_message_a_login_and_a_request_have_the_trace_of_their_frames(
    make_world: MakeWorld,
) -> None:
    async with make_world(settings={"log": SLOW}) as world:
        with logged() as entries:
            alice = await world.login(1001, url=world.url(1001, traceparent=traceparent(1)))
            await until(lambda: {"connection_opened", "slow_login"} <= events(entries, 1))
            header = {"traceparent": traceparent(2)}
            bob = await world.login(1002, additional_headers=header)
            await until(lambda: "slow_login" in events(entries, 2))
            # What the friends and the groups of a login are asked for is part of it.
            await until(lambda: "slow_rpc" in events(entries, 1) | events(entries, 2))
            entries.clear()
            await traced(world, alice, traceparent(3), "m-1")
            await until(lambda: "slow_rpc" in events(entries, 3))
            await bob.expect("chat", msgId="m-1")
            # Neither a login nor a message before it is the trace of what follows.
            await alice.chat(1002, "hello", msgId="m-2")
            await alice.expect("ack", msgId="m-2", status="delivered")
            batches = [each for each in entries if each.get("method") == "SendBatch"]
            assert {each.get("trace") for each in batches} == {trace(3), None}
            frame = {"type": "read", "data": {"peerId": 1001}, "traceparent": traceparent(4)}
            await bob.connection.send(json.dumps(frame))
            await until(lambda: "slow_rpc" in events(entries, 4))
        spans = {e["span"] for e in entries if e.get("trace") == trace(3)}
        assert CALLER not in spans


@pytest.mark.gen_test
@pytest.mark.parametrize("wrong", ["", "hello", 7, None, {}, traceparent(0)])
async def test_no_frame_is_refused_for_its_trace(make_world: MakeWorld, wrong: object) -> None:
    async with make_world() as world:
        alice = await world.login(1001, url=world.url(1001, traceparent=str(wrong)))
        await traced(world, alice, wrong, "m-1")


@pytest.mark.gen_test
async def test_services_log_under_the_trace_of_the_message(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await world.execute(text("ALTER TABLE im_message RENAME TO im_gone"))
        with logged() as entries:
            data = {"toUserId": 1002, "content": "hello", "msgId": "m-1"}
            frame = {"type": "chat", "data": data, "traceparent": traceparent(5)}
            await alice.connection.send(json.dumps(frame))
            await alice.expect("ack", msgId="m-1", status="failed", reason="rpc_error")
        # The first is of the services, which run in this process.
        assert {"database_lost", "rpc_failed"} <= events(entries, 5)


@pytest.mark.gen_test
async def test_an_http_call_has_its_trace_and_the_answer_names_it(make_world: MakeWorld) -> None:
    async with make_world() as world:
        token = f"Bearer {world.token(1001)}"
        with logged() as entries:
            for path, code in (("/message/offline", 200), ("/message/offline?limit=x", 400)):
                headers = {"Authorization": token, "traceparent": traceparent(6)}
                answer = await world.fetch(path, headers=headers)
                assert answer.code == code
                assert answer.headers["traceparent"].split("-")[1] == trace(6)
            answer = await world.get("/message/offline", 1001)
            assert "traceparent" not in answer.headers
        assert {"call_answered", "call_refused"} <= events(entries, 6)
        assert len([each for each in entries if "trace" not in each]) >= 1


@pytest.mark.gen_test
async def test_traces_begin_here_only_where_they_are_sampled(make_world: MakeWorld) -> None:
    settings = {"telemetry": TelemetryConf(sampler=1.0), "log": SLOW}
    async with make_world(settings=settings) as world:
        with logged() as entries:
            alice = await world.login(1001)
            await alice.chat(1002, "hello", msgId="m-1")
            answer = await world.get("/message/offline", 1001)
            assert answer.headers["traceparent"].endswith("-01")

            def stored() -> bool:
                return any(
                    each.get("method") == "SendBatch" and "trace" in each for each in entries
                )

            await until(stored)
        assert "trace" in next(e for e in entries if e["event"] == "connection_opened")
    settings["telemetry"] = replace(TelemetryConf(), disabled=True)
    async with make_world(settings=settings) as world:
        with logged() as entries:
            alice = await world.login(1001)
            await alice.chat(1002, "hello", msgId="m-2")
        assert [each for each in entries if "trace" in each] == []
