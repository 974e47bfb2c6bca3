"""Times are written as Go writes them."""

import time
from collections.abc import Iterator

import pytest

from skyeim_ws.ops import time_layout
from skyeim_ws.ops.time_layout import formatter

MOMENT = 1_136_239_445.123456  # what Go's layouts show, seven hours behind UTC


@pytest.fixture(autouse=True)
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX+7")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "layout",
    [
        "2006-01-02T15:04:05Z07:00",
        "2006-01-02 15:04:05 -0700",
        "06/1/2 3:4:5 PM",
        "Mon, 02 Jan 2006 15:04:05 -07:00",
        "Monday _2 January 03 pm -07",
        "20060102-150405",
        "no part of a time",
    ],
)
def test_the_moment_of_the_layouts_is_written_as_they_are(layout: str) -> None:
    expected = layout.replace("Z07:00", "-07:00")
    assert formatter(layout)(MOMENT) == expected.replace("_2", " 2")


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (time_layout.LINES, "2006-01-02T15:04:05.123-07:00"),
        ("05.000000", "05.123456"),
        ("05.999", "05.123"),
        ("05,00", "05,12"),
        ("002", "002"),
    ],
)
def test_fractions_and_days_of_the_year(layout: str, expected: str) -> None:
    assert formatter(layout)(MOMENT) == expected


def test_a_fraction_may_be_left_out_where_it_is_nothing() -> None:
    assert formatter("05.999")(1_136_239_445.0) == "05"
    assert formatter("05.000")(1_136_239_445.0) == "05.000"


def test_utc_is_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert formatter(time_layout.FILES)(MOMENT) == "2006-01-02T22:04:05Z"


def test_each_moment_has_its_own_fraction_and_second() -> None:
    write = formatter("15:04:05.000")
    moments = (MOMENT, MOMENT + 0.1, MOMENT + 0.9, MOMENT + 60, MOMENT)
    assert [write(moment) for moment in moments] == [
        "15:04:05.123",
        "15:04:05.223",
        "15:04:06.023",
        "15:05:05.123",
        "15:04:05.123",
    ]
