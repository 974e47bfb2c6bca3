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

    Requests(tasks, 1, 1).run(alice.client, "read", fail())
    assert alice.session.asking == 1
    await until(lambda: not len(tasks))
    assert alice.errors == [ERROR_CODES[reason]]
    assert alice.session.asking == 0


@pytest.mark.gen_test
async def test_one_too_many_is_refused_and_never_begins() -> None:
    alice, tasks, go_on = Person(1), Tasks(), asyncio.Event()
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        await go_on.wait()

    requests = Requests(tasks, 2, 1)
    taken = [requests.run(alice.client, "read", work(number)) for number in range(3)]
    assert taken == [True, True, False]
    assert alice.errors == [ERROR_CODES[Reason.BUSY]]
    assert alice.context.stats.busy == 1
    go_on.set()
    await until(lambda: not len(tasks))
    assert begun == [0, 1]
    assert requests.run(alice.client, "read", work(3))
    await until(lambda: not len(tasks))
    assert begun == [0, 1, 3]


@pytest.mark.gen_test
async def test_what_has_no_answer_is_left_out_when_there_is_too_much_of_it() -> None:
    alice, bob, tasks, go_on = Person(1), Person(2), Tasks(), asyncio.Event()
    begun: list[int] = []

    async def look_up(number: int, failure: Exception | None = None) -> None:
        begun.append(number)
        await go_on.wait()
        if failure is not None:
            raise failure

    requests = Requests(tasks, 3, 2)
    requests.run_if_free(alice.client, look_up(0, Refused(Reason.NOT_MEMBER)))
    requests.run_if_free(alice.client, look_up(1, Unavailable("no answer in time")))
    requests.run_if_free(alice.client, look_up(2))
    requests.run_if_free(bob.client, look_up(3))
    await until(lambda: len(begun) == 3)
    assert (begun, requests.looking_up, alice.session.asking) == ([0, 1, 3], 3, 2)
    assert alice.context.stats.frames_shed == 1
    # There is room for what has an answer.
    assert requests.run(alice.client, "read", look_up(4))
    assert alice.session.asking == 3
    go_on.set()
    await until(lambda: not len(tasks))
    assert (requests.looking_up, alice.session.asking) == (0, 0)
    assert (alice.context.stats.typing_refused, alice.context.stats.frames_shed) == (1, 2)
    assert alice.errors == []
