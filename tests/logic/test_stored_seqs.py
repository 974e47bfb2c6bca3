"""What a doubtful seq is compared with."""

from typing import Any, cast

import pytest

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.ports import HistoryMessage, Refused, Unavailable
from skyeim_ws.logic.stored_seqs import stored_from


class Messages:
    """What is stored in a group, or a failure."""

    def __init__(self, *seqs: tuple[int, int], failure: Exception | None = None) -> None:
        self.seqs = seqs
        self.failure = failure

    async def group_since(self, user_id: int, group_id: str, seq: int) -> list[HistoryMessage]:
        assert (user_id, group_id) == (7, "g")
        if self.failure is not None:
            raise self.failure
        return [cast(HistoryMessage, _Message(*each)) for each in self.seqs if each[0] > seq]


class _Message:
    def __init__(self, seq: int, message_id: int) -> None:
        self.seq = seq
        self.id = message_id


@pytest.mark.gen_test
async def test_it_is_what_has_this_seq_or_a_larger_one() -> None:
    messages = Messages((1, 10), (2, 20), (2, 40), (3, 30))
    assert await stored_from(cast(Any, messages), "g", 7, 2) == [(2, 20), (2, 40), (3, 30)]
    assert await stored_from(cast(Any, messages), "g", 7, 4) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("failure", [Refused(Reason.NOT_MEMBER), Unavailable("away")])
async def test_what_cannot_be_asked_for_is_unknown(failure: Exception) -> None:
    assert await stored_from(cast(Any, Messages(failure=failure)), "g", 7, 1) is None
