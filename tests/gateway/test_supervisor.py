"""The permanent tasks: none ends without a line, and a node without one of them ends as a whole."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.conn.heartbeat import Heartbeat
from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.ops.build import build
from skyeim_ws.store import subscriptions
from skyeim_ws.store.client import dedicated
from tests.gateway.conftest import KIND, MakeWorld
from tests.waiting import until

TASKS = ["redis_pipeline", "batcher", "bus", "lease", "heartbeat", "message_health"]
if KIND != "cluster":
    TASKS.append("member_cache")


class Part:
    """Something with a permanent task, which ends as it is told to."""

    def __init__(self) -> None:
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run())
        self.fails_at_the_end = False

    async def _run(self) -> None:
        await self.end

    async def close(self) -> None:
        if self.fails_at_the_end:
            self.end.set_exception(ValueError("at the end"))
        else:
            self.task.cancel()
        await asyncio.wait({self.task})


async def ended(part: Part) -> None:
    """Wait until the task has ended and whoever watches it knows."""
    await asyncio.wait({part.task})
    await asyncio.sleep(0)


def lines(logs: list[Any]) -> list[tuple[str, str, str]]:
    return [
        (line["event"], line["task"], type(line["exc_info"]).__name__)
        for line in logs
        if line["log_level"] == "error"
    ]


@pytest.mark.gen_test
async def test_a_task_that_fails_is_logged_with_its_error() -> None:
    async with AsyncExitStack() as stack:
        supervisor, part = Supervisor(stack), Part()
        supervisor.keep("part", part.task, part.close)
        with capture_logs() as logs:
            part.end.set_exception(ValueError("broken"))
            await ended(part)
        assert lines(logs) == [("permanent_task_ended", "part", "ValueError")]
        assert supervisor.failed.is_set()


@pytest.mark.parametrize("how", ["returns", "is cancelled"])
@pytest.mark.gen_test
async def test_a_task_that_ends_without_an_error_is_missed_as_well(how: str) -> None:
    async with AsyncExitStack() as stack:
        supervisor, part = Supervisor(stack), Part()
        supervisor.keep("part", part.task, part.close)
        with capture_logs() as logs:
            if how == "returns":
                part.end.set_result(None)
            else:
                part.task.cancel()
            await ended(part)
        assert lines(logs) == [("permanent_task_ended", "part", "NoneType")]
        assert supervisor.failed.is_set()


@pytest.mark.gen_test
async def test_a_task_may_end_when_it_is_told_to() -> None:
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            supervisor, part = Supervisor(stack), Part()
            supervisor.keep("part", part.task, part.close)
            assert part.task.get_name() == "part"
        await ended(part)
    assert logs == []
    assert not supervisor.failed.is_set()


@pytest.mark.gen_test
async def test_a_task_that_fails_at_the_end_is_logged_too() -> None:
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            supervisor, part = Supervisor(stack), Part()
            part.fails_at_the_end = True
            supervisor.keep("part", part.task, part.close)
        await ended(part)
    assert lines(logs) == [("permanent_task_ended", "part", "ValueError")]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.gen_test
async def test_each_permanent_task_of_a_gateway_is_watched(
    make_world: MakeWorld, name: str
) -> None:
    async with make_world() as world:
        assert not world.gateway.failed.is_set()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
        with capture_logs() as logs:
            # Once is not enough: redis-py may lose it.
            await cancel_and_wait(task)
            await until(world.gateway.failed.is_set)
        assert ("permanent_task_ended", name, "NoneType") in lines(logs)


@pytest.mark.gen_test
async def test_health_is_red_from_the_moment_that_a_task_has_failed(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world() as world:
        await world.login(1001)
        healthy = await world.get("/health")
        assert healthy.code == 200

        def fault(_: Heartbeat) -> None:
            raise ZeroDivisionError

        with capture_logs() as logs:
            monkeypatch.setattr(Heartbeat, "sweep", fault)
            await until(world.gateway.failed.is_set)
        assert lines(logs) == [("permanent_task_ended", "heartbeat", "ZeroDivisionError")]
        red = await world.get("/health")
        wanted = {"status": "failed", "online": 1, "reasons": ["task_ended"], **build()}
        assert (red.code, json.loads(red.body)) == (503, wanted)


@pytest.mark.gen_test
async def test_a_node_takes_connections_only_when_it_hears_the_others(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world() as world:
        bob = await world.login(1002)
        asked, gate = asyncio.Event(), asyncio.Event()

        async def gated(*args: Any) -> Any:
            asked.set()
            await gate.wait()
            return await dedicated(*args)

        monkeypatch.setattr(subscriptions, "dedicated", gated)
        with capture_logs() as logs:
            start = asyncio.create_task(world.add_node())
            await asked.wait()
            # Meanwhile the others go on, so the start has time enough to do what it may.
            carol = await world.login(1003)
            await carol.chat(1002, "hello")
            assert "gateway_listening" not in {line["event"] for line in logs}
            assert not start.done()
            gate.set()
            node = await start
        alice = await world.login(1001, node=node)
        await bob.expect("online", userId=1001)
        await bob.connection.close()
        await alice.expect("offline", userId=1002)
