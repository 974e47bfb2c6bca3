"""Killing the business services loses no message, and doubles and reorders none."""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.services.db import open_database
from skyeim_ws.services.tables import messages
from tests.services.conftest import make_group
from tests.waiting import DEADLINE, until

SENDERS = 20
MESSAGES_OF_EACH = 250
MESSAGES = SENDERS * MESSAGES_OF_EACH
KILLS = (MESSAGES * 20 // 100, MESSAGES * 44 // 100, MESSAGES * 70 // 100)
"""How many messages are answered when the services are killed."""

TIMEOUT = 0.5
"""Seconds that a message may take; short, because at each kill the senders must run into it."""


class Services:
    """The process of the business services over a SQLite file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.source = str(folder / "im.db")
        self.address = f"unix:{folder / 's.sock'}"
        self._process: Process | None = None

    async def start(self) -> None:
        command = ["-m", "skyeim_ws.services.server", "--data-source", self.source]
        command += ["--listen", self.address, "--log-level", "error"]
        self._process = await asyncio.create_subprocess_exec(sys.executable, *command)

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


@asynccontextmanager
async def batching(address: str) -> AsyncIterator[Batcher]:
    pool = Pool("services", [address], TIMEOUT)
    batcher = Batcher(pool, FriendClient(pool), GroupClient(pool))
    batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close()
        await pool.close()


async def send(batcher: Batcher, message: Outgoing) -> SendOutcome:
    answer: asyncio.Future[SendOutcome] = asyncio.get_running_loop().create_future()
    assert batcher.submit(message, lambda _, outcome: answer.set_result(outcome))
    return await answer


async def send_all(
    batcher: Batcher, sender: int, answers: dict[str, Stored], failures: list[Unavailable]
) -> None:
    """Send one message after the other, each again and again until it is stored."""
    for number in range(MESSAGES_OF_EACH):
        msg_id = f"{sender}-{number}"
        message = Outgoing(msg_id, sender, content="hi", content_type=1, group_id="g")
        while isinstance(outcome := await send(batcher, message), Unavailable):
            failures.append(outcome)
        assert isinstance(outcome, Stored)
        answers[msg_id] = outcome


async def reach(count: Callable[[], int], least: int) -> None:
    await until(lambda: count() >= least, DEADLINE)


async def kill_and_restart(
    services: Services, answers: dict[str, Stored], failures: list[Unavailable]
) -> None:
    for answered in KILLS:
        await reach(lambda: len(answers), answered)
        await services.kill()
        assert len(answers) < MESSAGES
        # Only a sender that has been told sends its message again.
        await reach(lambda: len(failures), len(failures) + 1)
        await services.start()


@pytest.mark.gen_test
async def test_what_was_answered_is_stored_once_and_in_order_whenever_the_services_are_killed(
    tmp_path: Path,
) -> None:
    services = Services(tmp_path)
    answers: dict[str, Stored] = {}
    failures: list[Unavailable] = []
    database = await open_database(services.source)
    await make_group(database, "g", 1, range(2, SENDERS + 1))
    await database.close()

    async with AsyncExitStack() as stack:
        stack.push_async_callback(services.kill)
        await services.start()
        batcher = await stack.enter_async_context(batching(services.address))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kill_and_restart(services, answers, failures))
            for sender in range(1, SENDERS + 1):
                tasks.create_task(send_all(batcher, sender, answers, failures))
        assert batcher.batching

    database = await open_database(services.source)
    async with database.read() as connection:
        found = (await connection.execute(select(messages).order_by(messages.c.seq))).all()
    await database.close()

    assert [row.seq for row in found] == list(range(1, MESSAGES + 1))
    assert [row.id for row in found] == sorted({row.id for row in found})
    stored = {row.msg_id: (row.id, row.seq, row.created_at) for row in found}
    assert {key: (a.id, a.seq, a.created_at) for key, a in answers.items()} == stored
    for sender in range(1, SENDERS + 1):
        sent = [row.msg_id for row in found if row.from_user_id == sender]
        assert sent == [f"{sender}-{number}" for number in range(MESSAGES_OF_EACH)]
