"""The end of tasks that talk to Redis themselves."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.store.tracking import changes
from tests.store.servers import Server, connected, running_server
from tests.waiting import DEADLINE


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.mark.gen_test
async def test_a_task_ends_at_whatever_step_of_connecting_it_is(server: Server) -> None:
    async with connected(server) as client:

        async def follow() -> None:
            async with aclosing(changes(client, "im:", lambda: 0)) as stream:
                async for _ in stream:
                    pass

        for steps in range(40):
            task = asyncio.create_task(follow())
            for _ in range(steps):
                await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE):
                await cancel_and_wait(task)
            assert task.done()


@pytest.mark.gen_test
async def test_tasks_that_have_ended_or_failed_are_no_trouble() -> None:
    async def fail() -> None:
        raise RuntimeError("a fault")

    failing, ended = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait({failing, ended})
    await cancel_and_wait()
    await cancel_and_wait(failing, ended)
