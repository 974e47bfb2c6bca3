"""What a doubtful seq is compared with."""

from typing import Any, cast

import pytest

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.newest_seq import newest_seq
from skyeim_ws.logic.ports import HistoryMessage, Refused, Unavailable


class Messages:
    """The newest page of a group, or a failure."""

    def __init__(self, *seqs: tuple[int, int], failure: Exception | None = None) -> None:
        self.seqs = seqs
        self.failure = failure
        self.asked: list[tuple[int, str, int]] = []

    async def group_history(
        self, user_id: int, group_id: str, last_msg_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        self.asked.append((user_id, group_id, last_msg_id))
        assert limit > 0
        if self.failure is not None:
            raise self.failure
        return [cast(HistoryMessage, _Message(*each)) for each in self.seqs], False


class _Message:
    def __init__(self, message_id: int, seq: int) -> None:
        self.id = message_id
        self.seq = seq


@pytest.mark.gen_test
async def test_it_is_that_of_the_message_with_the_largest_id() -> None:
    messages = Messages((9, 900), (11, 2), (10, 1))
    assert await newest_seq(cast(Any, messages), "g", 7) == 2
    assert messages.asked == [(7, "g", 0)]
    assert await newest_seq(cast(Any, Messages()), "g", 7) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("failure", [Refused(Reason.NOT_MEMBER), Unavailable("away")])
async def test_what_cannot_be_asked_for_is_unknown(failure: Exception) -> None:
    assert await newest_seq(cast(Any, Messages(failure=failure)), "g", 7) is None
