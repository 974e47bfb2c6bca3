"""A number in a URL is written in one way only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.handler.numbers import MAX_INT64, parse_number


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "+1", "-1", "1_0", "1.0", "1e3", "0x1", "\u0661", "\uff11", "1\n", "1\0"),
        *("9" * 20, "0" * 20, str(2**63), "9" * 5_000),
    ],
)
def test_other_ways_to_write_a_number_are_refused(text: str) -> None:
    assert parse_number(text, 0) is None


@given(st.integers(0, MAX_INT64))
def test_every_number_that_is_in_range_is_read(number: int) -> None:
    assert parse_number(str(number), 0) == number


@given(st.integers(0, MAX_INT64), st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_bounds_belong_to_the_range(number: int, low: int, high: int) -> None:
    wanted = number if low <= number <= high else None
    assert parse_number(str(number), low, high) == wanted


@given(st.text(max_size=25))
def test_any_text_is_a_number_or_none(text: str) -> None:
    number = parse_number(text, 0)
    assert number is None or (text.isascii() and text.isdecimal() and number == int(text))
