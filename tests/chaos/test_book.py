"""What counts as confirmed long ago, where a fault took long to heal."""

import math

import pytest

from tests.chaos.book import Book, Trouble

THREE_MORE = [(100, 101), (103, 104), (105, math.inf)]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], 95),
        ([(80, 90)], 95),
        ([(80, 98)], 77),
        ([(96, 99)], 95),
        ([(70, 72), (73, 97)], 71),
        ([(60, 72), (73, 97)], 59),
    ],
)
def test_the_time_of_a_long_fault_does_not_count(
    before: list[tuple[float, float]], expected: float
) -> None:
    book = Book(faults=[Trouble(*each) for each in [*before, *THREE_MORE]])
    assert book.confirmed_before == expected


def test_after_few_faults_nothing_counts() -> None:
    assert Book(faults=[Trouble(1, 2), Trouble(3, 4)]).confirmed_before == 0
