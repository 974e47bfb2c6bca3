"""Look-ups that meet are one call; whom it does not answer for is asked for alone."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.names import MAX_USERS
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc.gathered import CONCURRENT_CALLS, Gathered
from tests.waiting import until


class Source:
    """Knows each user by a name, together if it can, and notes how it was asked."""

    def __init__(self, *, knows_many: bool = True) -> None:
        self.knows_many = knows_many
        self.missing: set[int] = set()
        self.asked: list[list[int]] = []
        self.alone: list[int] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.gathered = Gathered(self.many, self.one, asyncio.create_task)

    async def many(self, user_ids: Sequence[int]) -> Mapping[int, str] | None:
        self.asked.append(list(user_ids))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if not self.knows_many:
            return None
        return {each: f"u{each}" for each in user_ids if each not in self.missing}

    async def one(self, user_id: int) -> str:
        self.alone.append(user_id)
        if user_id == 13:
            raise Refused(Reason.NOT_FRIEND)
        return f"u{user_id}"

    async def get(self, *user_ids: int) -> list[str]:
        return await asyncio.gather(*map(self.gathered.get, user_ids))


@pytest.mark.gen_test
async def test_those_who_come_in_a_turn_are_one_call() -> None:
    source = Source()
    assert await source.get(1, 2, 1, 3) == ["u1", "u2", "u1", "u3"]
    assert source.asked == [[1, 2, 3]]
    assert await source.get(1) == ["u1"]  # it is no cache
    assert source.asked == [[1, 2, 3], [1]]


@pytest.mark.gen_test
async def test_those_who_come_while_calls_are_under_way_wait_for_the_next() -> None:
    source = Source()
    source.gate.clear()
    waiting = []
    for user_id in range(CONCURRENT_CALLS + 5):
        waiting.append(asyncio.create_task(source.get(user_id)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await until(lambda: len(source.asked) == CONCURRENT_CALLS)
    source.gate.set()
    await asyncio.gather(*waiting)
    assert [len(each) for each in source.asked] == [*[1] * CONCURRENT_CALLS, 5]


@pytest.mark.gen_test
async def test_nobody_joins_a_look_up_that_may_have_been_read_already() -> None:
    source = Source()
    source.gate.clear()
    first = asyncio.create_task(source.get(1))
    await until(lambda: source.asked)
    second = asyncio.create_task(source.get(1))
    await until(lambda: len(source.asked) == 2)
    source.gate.set()
    assert await first == await second == ["u1"]
    assert source.asked == [[1], [1]]


@pytest.mark.gen_test
async def test_a_call_asks_for_no_more_than_a_server_answers() -> None:
    source = Source()
    await source.get(*range(1, 2 * MAX_USERS + 2))
    assert [len(each) for each in source.asked] == [MAX_USERS, MAX_USERS, 1]


@pytest.mark.gen_test
@pytest.mark.parametrize("knows_many", [True, False])
async def test_who_is_missing_is_asked_for_alone(knows_many: bool) -> None:
    source = Source(knows_many=knows_many)
    source.missing = {2, 13}
    assert await source.get(1, 2) == ["u1", "u2"]
    assert source.alone == ([2] if knows_many else [1, 2])
    with pytest.raises(Refused):
        await source.get(13)


@pytest.mark.gen_test
async def test_a_failure_is_everyones_and_the_next_are_asked_for_again() -> None:
    source = Source()
    source.failure = Unavailable("away")
    answers = await asyncio.gather(*map(source.gathered.get, (1, 2)), return_exceptions=True)
    assert answers == [source.failure] * 2
    source.failure = None
    assert await source.get(1) == ["u1"]


@pytest.mark.gen_test
async def test_one_who_does_not_wait_takes_nothing_from_the_others() -> None:
    source = Source()
    source.gate.clear()
    impatient, patient = (asyncio.create_task(source.get(1)) for _ in range(2))
    await until(lambda: source.asked)
    impatient.cancel()
    await asyncio.wait({impatient})
    source.gate.set()
    assert await patient == ["u1"]
