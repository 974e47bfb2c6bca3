"""What counts as confirmed long ago, where the faults leave little time between them."""

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
        ([(70, 72), (73, 97)], 70 - (5 - 3 - 1)),
    ],
)
def test_only_the_time_between_faults_counts(
    before: list[tuple[float, float]], expected: float
) -> None:
    book = Book(faults=[Trouble(*each) for each in [*before, *THREE_MORE]])
    assert book.confirmed_before == expected


def test_after_few_faults_nothing_counts() -> None:
    assert Book(faults=[Trouble(1, 2), Trouble(3, 4)]).confirmed_before == 0
