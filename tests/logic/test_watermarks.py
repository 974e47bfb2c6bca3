"""What a node says of how far its users have confirmed, and what it takes for written."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.watermarks import Mark, Watermarks
from tests.logic.fakes import People, Person, live

BOB = 1002


class Outside:
    """A hub with one user, a catch-up that is as far as the test says, and Redis."""

    def __init__(self) -> None:
        self.bob = Person(BOB)
        self.people = People({BOB: self.bob})
        self.written: list[Mark] = []
        self.answers: list[int | Exception | None] = []
        self.under_way = False
        self.position: tuple[int, str] | None = None
        port = cast(Any, self)
        self.watermarks = Watermarks(cast(Any, self.people), port, port)

    def is_under_way(self, _client: Any) -> bool:
        return self.under_way

    def reached(self, _client: Any) -> tuple[int, str] | None:
        return self.position

    async def advance(self, marks: Sequence[Mark]) -> list[int | None]:
        self.written += marks
        answer = self.answers.pop(0) if self.answers else marks[0].below
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    def confirm(self, number: int) -> None:
        self.bob.ledger.confirm(f"m{number}")
        self.watermarks.confirmed(self.bob.client, number)


def mark(below: int, bringing: str = "") -> Mark:
    return Mark(BOB, f"c-{BOB}", below, bringing)


@pytest.mark.gen_test
async def test_it_stops_before_what_is_unconfirmed_in_whatever_order() -> None:
    outside = Outside()
    outside.bob.session.known_watermark(0)
    for number in (3, 5, 4, 7):
        outside.bob.ledger.add(live(number))
    outside.confirm(7)
    outside.confirm(3)
    await outside.watermarks.write()
    assert outside.written == [mark(4)]
    outside.confirm(4)
    outside.confirm(5)
    await outside.watermarks.write()
    assert outside.written[1:] == [mark(8)]
    assert (outside.bob.session.watermark, outside.bob.session.proposed) == (8, 8)


@pytest.mark.gen_test
@pytest.mark.parametrize("answer", [None, Unavailable("Redis is away")])
async def test_what_has_to_wait_is_taken_for_written_and_asked_again(
    answer: Exception | None,
) -> None:
    outside = Outside()
    outside.answers = [answer]
    outside.confirm(7)
    try:
        await outside.watermarks.write()
    except Unavailable:
        assert answer is not None
    session = outside.bob.session
    assert (session.watermark, len(outside.watermarks)) == (0, 1)
    session.known_watermark(0)
    assert session.proposed in (0, 8)
    await outside.watermarks.write()
    assert (session.watermark, len(outside.watermarks)) == (8, 0)


@pytest.mark.gen_test
async def test_while_older_messages_are_brought_it_follows_them() -> None:
    outside = Outside()
    outside.under_way = True
    outside.confirm(90)
    await outside.watermarks.write()
    assert outside.written == []
    outside.position = (21, "a note")
    outside.bob.ledger.add(live(12))
    await outside.watermarks.write()
    assert outside.written == [mark(12, "a note")]


@pytest.mark.gen_test
async def test_what_is_left_at_the_end_stops_before_what_is_undelivered() -> None:
    outside = Outside()
    outside.bob.session.known_watermark(5)
    client = outside.bob.client
    assert outside.watermarks.last(client, []) is None
    outside.confirm(7)
    assert outside.watermarks.last(client, [live(6), live(9)]) == mark(6)
    assert outside.watermarks.last(client, [live(4)]) is None
    left = outside.watermarks.last(client, [])
    assert left == mark(8)
    outside.under_way = True
    assert outside.watermarks.last(client, []) is None
    assert len(outside.watermarks) == 0
    outside.under_way = False
    successor = outside.people[BOB] = Person(BOB)
    outside.watermarks.go_on(successor.client, left)
    outside.watermarks.go_on(successor.client, None)
    await outside.watermarks.write()
    assert outside.written == [mark(8)]


@pytest.mark.gen_test
async def test_what_is_known_already_is_not_written_nor_for_whom_is_gone() -> None:
    outside = Outside()
    outside.bob.session.known_watermark(100)
    outside.confirm(50)
    await outside.watermarks.write()
    outside.confirm(200)
    outside.people.clear()
    await outside.watermarks.write()
    assert (outside.written, len(outside.watermarks)) == ([], 0)
