"""For how long it is remembered what Redis has taken."""

from collections.abc import Callable

from skyeim_ws.store.operation import Operation
from skyeim_ws.store.taken import MAX_BYTES, TAKEN_SECONDS, Taken


def first() -> None:
    """What one user is noted by; another one by another function."""


def second() -> None:
    """The same."""


def third() -> None:
    """The same."""


def operation(number: int, size: int = 0, forgotten: Callable[[], None] = first) -> Operation:
    commands = (("SET", "key", size * b"x"),)
    return Operation(number, commands, durable=True, forgotten=forgotten)


def taken_back(taken: Taken) -> list[int]:
    operations, notes = taken.take_back()
    assert notes == []
    return [each.number for each in operations]


def test_what_was_taken_just_before_the_last_answer_is_sent_again_once() -> None:
    taken = Taken(10)
    for number in range(5):
        taken.add(operation(number), float(number))
    taken.trim(1.5 + TAKEN_SECONDS)
    assert taken_back(taken) == [2, 3, 4]
    assert taken_back(taken) == []


def test_of_more_than_there_is_room_for_the_newest_stay_whole() -> None:
    """Of the others it is known who is concerned, each once."""
    taken = Taken(2)
    for number, forgotten in enumerate([first, second, first, third, third, third]):
        taken.add(operation(number, forgotten=forgotten), 0.0)
    operations, notes = taken.take_back()
    assert ([each.number for each in operations], notes) == ([4, 5], [first, third])


def test_so_do_those_of_more_bytes_than_there_is_room_for() -> None:
    taken = Taken(100)
    for number in range(5):
        taken.add(operation(number, MAX_BYTES // 2), 0.0)
    operations, notes = taken.take_back()
    assert ([each.number for each in operations], notes) == ([3, 4], [first])
    taken.add(operation(9, MAX_BYTES), 0.0)
    assert taken_back(taken) == [9]


def test_a_note_is_as_old_as_the_last_operation_that_it_stands_for() -> None:
    taken = Taken(1)
    for now, forgotten in enumerate([first, second, first, third]):
        taken.add(operation(now, forgotten=forgotten), float(now))
    taken.trim(1.5 + TAKEN_SECONDS)
    operations, notes = taken.take_back()
    assert ([each.number for each in operations], notes) == ([3], [first])


def test_what_is_sent_again_is_not_dropped_without_a_word() -> None:
    taken, mine = Taken(2), operation(1)
    taken.add(mine, 0.0)
    taken.take_back()
    assert mine.dropped is mine.forgotten
