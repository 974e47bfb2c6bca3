"""For how long it is remembered what Redis has taken."""

from skyeim_ws.store.operation import Operation
from skyeim_ws.store.taken import TAKEN_SECONDS, Taken


def operation(number: int) -> Operation:
    return Operation(number, (("PING",),), durable=True, forgotten=lambda: None)


def taken_back(taken: Taken) -> list[int]:
    return [each.number for each in taken.take_back()]


def test_what_was_taken_just_before_the_last_answer_is_sent_again_once() -> None:
    taken = Taken(10)
    for number in range(5):
        taken.add(operation(number), float(number))
    taken.trim(1.5 + TAKEN_SECONDS)
    assert taken_back(taken) == [2, 3, 4]
    assert taken_back(taken) == []


def test_of_more_than_there_is_room_for_the_newest_stay() -> None:
    taken = Taken(2)
    for number in range(5):
        taken.add(operation(number), 0.0)
    assert taken_back(taken) == [3, 4]


def test_what_is_sent_again_is_not_dropped_without_a_word() -> None:
    taken, mine = Taken(2), operation(1)
    taken.add(mine, 0.0)
    taken.take_back()
    assert mine.dropped is mine.forgotten
