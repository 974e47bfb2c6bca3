"""A catch-up step by step: older messages in pages, live ones behind them, nothing forgotten."""

from typing import Any, cast

import pytest

from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.logic.catch_up import CatchUp, Hold
from skyeim_ws.logic.ports import HistoryMessage
from skyeim_ws.logic.progress import Progress, Step, Wait
from skyeim_ws.logic.tasks import Tasks
from tests.logic.fakes import Person, live
from tests.waiting import until

BOB = 2


class Outside:
    """What `CatchUp` needs: a Message service that has `stored`, of which all is unread."""

    def __init__(self, stored: range) -> None:
        self.bob = Person(BOB)
        self.stored = [message(number) for number in stored]
        self.newer: list[Delivery] | None = []
        self.forgotten: list[str] = []
        self.asked: list[str] = []
        port = cast(Any, self)
        self.catch_up = CatchUp(port, cast(Any, Queue(self)), port, Tasks())

    async def unread_page(
        self, _user_id: int, limit: int, *, after_id: int
    ) -> tuple[list[HistoryMessage], bool]:
        self.asked.append(f"unread {after_id}")
        later = [stored for stored in self.stored if stored.id > after_id]
        return later[:limit], len(later) > limit

    async def since(
        self, _user_id: int, after_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        self.asked.append(f"since {after_id}")
        later = [stored for stored in self.stored if stored.id > after_id]
        return later[:limit], len(later) > limit

    def caught_up(self, _user_id: int, missed: str) -> None:
        self.forgotten.append(missed)

    def hold(self, number: int) -> Hold:
        return self.catch_up.hold(self.bob.client, live(number))

    def confirm(self) -> None:
        """Have Bob confirm what was written to him."""
        self.bob.ledger.drain()
        self.catch_up.progressed(self.bob.client)

    async def has(self, ids: list[int]) -> None:
        """Wait until this, and nothing else, was written to Bob."""
        wanted = [f"m{number}" for number in ids]
        await until(lambda: len(self.bob.delivered) >= len(wanted))
        assert self.bob.delivered == wanted

    async def is_at(self, step: Step) -> None:
        await until(lambda: self.catch_up.step(self.bob.client) is step)


class Queue:
    """The offline queue, as far as a catch-up reads it."""

    max_bytes = 1_000_000

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def newer(self, _client: object) -> list[Delivery] | None:
        return self._outside.newer


def message(number: int) -> HistoryMessage:
    return HistoryMessage(
        id=number,
        msg_id=f"m{number}",
        from_user_id=9,
        to_user_id=BOB,
        chat_type=1,
        group_id="",
        content="x",
        content_type=1,
        status=0,
        created_at=1,
        seq=0,
        at_user_ids=[],
    )


@pytest.mark.gen_test
async def test_pages_follow_each_other_and_live_messages_follow_them() -> None:
    outside = Outside(range(1, 151))
    bob, catch_up = outside.bob.client, outside.catch_up
    catch_up.pause(bob, Wait.LOGIN)
    assert [outside.hold(number) for number in (202, 201)] == [Hold.HELD] * 2
    assert catch_up.step(bob) is Step.HOLD
    catch_up.fetch(bob, "", 10)
    await outside.is_at(Step.FETCH_NEWER)
    # The second page does not wait for the first to be confirmed, but what is live does.
    await outside.has([*range(11, 151)])
    assert catch_up.held(bob) == ["m202", "m201"]
    outside.confirm()
    # A login may be over later than what precedes its live messages has come.
    await outside.is_at(Step.HOLD)
    catch_up.resume(bob, Wait.LOGIN)
    assert catch_up.step(bob) is Step.END
    await outside.has([*range(11, 151), 201, 202])
    assert outside.hold(203) is Hold.NOT_HELD


@pytest.mark.gen_test
@pytest.mark.parametrize("after_id", [None, 120])
async def test_what_was_missed_is_forgotten_when_all_of_it_has_come(after_id: int | None) -> None:
    """With an id it is what is unread up to there, and then all that follows."""
    outside = Outside(range(1, 151))
    outside.catch_up.fetch(outside.bob.client, "a note", after_id)
    await outside.has([*range(1, 151)])
    assert outside.forgotten == []
    outside.confirm()
    await outside.is_at(Step.END)
    assert outside.forgotten == ["a note"]
    assert outside.asked[0] == "unread 0"


@pytest.mark.gen_test
async def test_no_more_is_under_way_than_may_be_unconfirmed() -> None:
    outside = Outside(range(1, 2_501))
    outside.catch_up.fetch(outside.bob.client, "", None)
    for least in (1_000, 2_000):
        await until(lambda least=least: len(outside.bob.delivered) >= least)  # type: ignore[misc]
        assert len(outside.bob.delivered) == least
        assert outside.bob.ledger.ping_under_way  # it is asked for at once
        outside.confirm()
    await outside.has([*range(1, 2_501)])
    outside.confirm()
    await outside.is_at(Step.END)


@pytest.mark.gen_test
async def test_what_was_queued_is_read_and_if_it_is_too_much_fetched() -> None:
    outside = Outside(range(1, 4))
    outside.newer = [live(7), live(6)]
    outside.catch_up.reread(outside.bob.client)
    await outside.has([6, 7])
    await outside.is_at(Step.END)
    assert outside.asked == []
    outside.confirm()
    outside.newer = None
    outside.catch_up.reread(outside.bob.client)
    await outside.has([6, 7, 1, 2, 3])
    assert outside.asked[0] == "unread 0"
    outside.confirm()
    await outside.is_at(Step.END)


@pytest.mark.gen_test
async def test_what_is_asked_for_meanwhile_is_brought_as_well() -> None:
    outside = Outside(range(1, 4))
    outside.newer = [live(5)]
    outside.catch_up.fetch(outside.bob.client, "", 2)
    await outside.has([3])
    outside.catch_up.reread(outside.bob.client)
    outside.confirm()
    await outside.has([3, 5])
    await outside.is_at(Step.END)


@pytest.mark.gen_test
async def test_more_live_messages_than_can_be_held_are_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skyeim_ws.logic.catch_up.MAX_HELD", 1)
    outside = Outside(range(1, 4))
    outside.catch_up.fetch(outside.bob.client, "", 2)
    await outside.has([3])
    assert [outside.hold(number) for number in (4, 5)] == [Hold.HELD, Hold.FULL]
    outside.stored += [message(4), message(5)]
    outside.confirm()
    await outside.has([3, 4, 5])
    outside.confirm()
    await outside.is_at(Step.END)


@pytest.mark.gen_test
async def test_who_leaves_returns_what_was_held_and_is_brought_nothing_more() -> None:
    outside = Outside(range(1, 2_001))
    outside.catch_up.fetch(outside.bob.client, "a note", None)
    await until(lambda: len(outside.bob.delivered) == 1_000)
    outside.hold(2_001)
    left = outside.catch_up.forget(outside.bob.client)
    assert [delivery.msg_id for delivery in left] == ["m2001"]
    await outside.catch_up.ended(outside.bob.client)
    outside.confirm()
    await outside.is_at(Step.END)
    assert len(outside.bob.delivered) == 1_000
    assert outside.forgotten == []


def test_no_step_follows_the_end() -> None:
    progress = Progress(BOB)
    progress.set_step(Step.END)
    with pytest.raises(ValueError, match="cannot go from END to HOLD"):
        progress.set_step(Step.HOLD)
