"""Requests beside a connection: each has an answer, and they are few at a time."""

import asyncio

import pytest

from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.tasks import Tasks
from tests.logic.fakes import Person
from tests.waiting import until


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Refused(Reason.NOT_MEMBER), Reason.NOT_MEMBER),
        (Unavailable("no answer in time"), Reason.RPC_ERROR),
    ],
)
async def test_a_failure_is_an_answer_and_frees_the_place(
    failure: Exception, reason: Reason
) -> None:
    alice, tasks = Person(1), Tasks()

    async def fail() -> None:
        raise failure

    Requests(tasks, 1).run(alice.client, "read", fail())
    assert alice.in_flight == 1
    await until(lambda: not len(tasks))
    assert alice.errors == [ERROR_CODES[reason]]
    assert alice.in_flight == 0


@pytest.mark.gen_test
async def test_one_too_many_is_refused_and_never_begins() -> None:
    alice, tasks, go_on = Person(1), Tasks(), asyncio.Event()
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        await go_on.wait()

    requests = Requests(tasks, 2)
    taken = [requests.run(alice.client, "read", work(number)) for number in range(3)]
    assert taken == [True, True, False]
    assert alice.errors == [ERROR_CODES[Reason.BUSY]]
    assert alice.context.stats.busy == 1
    go_on.set()
    await until(lambda: not len(tasks))
    assert begun == [0, 1]
    assert requests.admit(alice.client)
