"""When the members of a group are asked for again, and in whose name."""

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.member_retry import NOBODY, RETRY_DELAYS, MemberRetry
from skyeim_ws.logic.ports import Refused, Unavailable

MEMBERS = frozenset({1, 2})


class Cache:
    """Answers as it was told, then with the members."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.askers: list[int] = []
        self.slept: list[float] = []
        self.now = 100.0
        self.tested = MemberRetry(cast(Any, self), sleep=self.sleep, clock=lambda: self.now)

    async def members(self, _group_id: str, asker_id: int) -> frozenset[int]:
        self.askers.append(asker_id)
        if self.answers:
            raise self.answers.pop(0)
        return MEMBERS

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.mark.gen_test
async def test_a_refusal_is_not_tried_again() -> None:
    cache = Cache(Refused(Reason.GROUP_NOT_FOUND))
    assert await cache.tested.find("g", [1, 2]) is None
    assert (cache.askers, cache.slept) == ([1], [])


@pytest.mark.gen_test
async def test_a_stranger_is_passed_over_at_once() -> None:
    cache = Cache(Refused(Reason.NOT_MEMBER), Refused(Reason.NOT_MEMBER))
    assert await cache.tested.find("g", [9, 8, 1]) == MEMBERS
    assert (cache.askers, cache.slept) == ([9, 8, 1], [])


@pytest.mark.gen_test
async def test_the_group_is_asked_for_in_nobody_s_name_when_the_senders_have_left() -> None:
    cache = Cache(Refused(Reason.NOT_MEMBER))
    assert await cache.tested.find("g", [9]) == MEMBERS
    assert cache.askers == [9, NOBODY]
    cache = Cache(Refused(Reason.NOT_MEMBER), Refused(Reason.NOT_MEMBER))
    assert await cache.tested.find("g", [9]) is None


@pytest.mark.gen_test
async def test_trouble_is_tried_again_with_pauses_that_differ() -> None:
    pauses = []
    for _ in range(50):
        cache = Cache(*[Unavailable("away")] * len(RETRY_DELAYS))
        assert await cache.tested.find("g", [1]) == MEMBERS
        assert cache.askers == [1] * 4
        pauses.append(cache.slept)
    for of_try, delay in zip(zip(*pauses, strict=True), RETRY_DELAYS, strict=True):
        assert len(set(of_try)) > 1
        assert all(delay / 2 <= pause <= delay * 3 / 2 for pause in of_try)


@pytest.mark.gen_test
async def test_lasting_trouble_is_given_up_and_said_once_for_all_groups() -> None:
    cache = Cache(*[Unavailable("away")] * 12)
    with capture_logs() as logs:
        assert await cache.tested.find("g", [1]) is None
        assert await cache.tested.find("h", [1]) is None
        cache.now += 10
        assert await cache.tested.find("i", [1]) is None
    assert [(line["group"], line["suppressed"]) for line in logs] == [("g", 0), ("i", 1)]
