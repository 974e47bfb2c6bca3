"""What the admin commands print: alignment, escapes, times, JSON."""

import io
import re
import sys
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.cli.admin.output import Answer, fields, local_time, printable, table, write
from skyeim_ws.contract.pb import message_pb2

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"


@given(st.lists(st.tuples(st.text("aé群\u0301\n\x1b ", max_size=6), st.integers()), min_size=1))
def test_the_second_column_of_a_table_is_aligned(rows: list[tuple[str, int]]) -> None:
    lines = table(("TEXT", "NUMBER"), rows, empty="").split("\n")
    assert len(lines) == len(rows) + 1
    starts = set()
    for line, number in zip(lines, ["NUMBER", *(number for _, number in rows)], strict=True):
        assert line.endswith(str(number))
        before = line.removesuffix(str(number))
        # What a terminal shows: wide characters take two columns, accents none.
        starts.add(len(before) + before.count("群") - before.count("\u0301"))
    assert len(starts) == 1


def test_a_table_without_rows_says_so() -> None:
    assert table(("A", "B"), [], empty="nothing") == "nothing"


@given(st.text())
def test_what_is_printed_is_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize("seconds", [1, 1_700_000_000])
def test_times_are_local_iso(seconds: int) -> None:
    shown = local_time(seconds)
    assert re.fullmatch(TIME, shown)
    assert datetime.fromisoformat(shown).timestamp() == seconds


def test_times_that_are_none_are_shown_as_they_are() -> None:
    assert (local_time(0), local_time(2**62)) == ("-", str(2**62))


def test_fields_have_the_names_and_types_of_the_http_api() -> None:
    shown = fields(message_pb2.MessageInfo(id=2**53 + 1, msg_id="m", at_user_ids=[-1, 5]))
    assert (shown["id"], shown["msgId"], shown["atUserIds"]) == (2**53 + 1, "m", [-1, 5])


@pytest.mark.parametrize(
    ("as_json", "printed"), [(False, b"\\u7fa4\n"), (True, b'{"a":"\\u7fa4"}\n')]
)
def test_an_encoding_that_lacks_a_character_is_no_failure(
    as_json: bool, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with io.TextIOWrapper(io.BytesIO(), encoding="ascii") as narrow:
        monkeypatch.setattr(sys, "stdout", narrow)
        write(Answer({"a": "群"}, "群"), as_json=as_json)
        narrow.seek(0)
        assert narrow.buffer.read() == printed
