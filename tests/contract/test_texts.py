"""The table of what people read: whole in both languages, and nothing in it that nobody says."""

import re
from pathlib import Path
from string import Formatter

import pytest

import skyeim_ws
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Language, Phrase, Text, explanation

FOR_PROGRAMS = {Text.GOING_AWAY, Text.UNAUTHORIZED}
MAX_CLOSE_REASON = 123
"""Bytes that a close frame can carry beside its code."""

SOURCE = "\n".join(
    path.read_text()
    for path in Path(skyeim_ws.__file__).parent.rglob("*.py")
    if path.name != "texts.py"
)


def gaps(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_no_two_texts_are_the_same() -> None:
    assert len(list(Text)) == len(Text.__members__)


@pytest.mark.parametrize("text", Text, ids=lambda text: text.name)
def test_every_text_is_there_in_both_languages(text: Text) -> None:
    english, chinese = text.value
    assert gaps(english) == gaps(chinese)
    assert english.isascii()
    assert bool(re.search(r"[\u4e00-\u9fff]", chinese)) is (text not in FOR_PROGRAMS)
    phrase = text(**dict.fromkeys(gaps(english), 7))
    assert phrase.spoken(Language.EN) == str(phrase) == re.sub(r"\{\w+\}", "7", english)
    assert phrase.spoken(Language.ZH) == re.sub(r"\{\w+\}", "7", chinese)
    assert len(phrase.spoken(Language.ZH).encode()) <= MAX_CLOSE_REASON


@pytest.mark.parametrize("text", Text, ids=lambda text: text.name)
def test_every_text_is_said_somewhere(text: Text) -> None:
    said = re.search(rf"\bText\.{text.name}\b", SOURCE)
    assert said or text.name in Reason.__members__


def test_every_reason_is_explained() -> None:
    assert [explanation(reason) for reason in Reason] == [
        Phrase(Text[reason.name], {}) for reason in Reason
    ]


def test_what_stands_in_a_gap_is_not_looked_into() -> None:
    assert str(Text.UNKNOWN_TYPE(kind="{name}{0}")) == "unknown type {name}{0}"
