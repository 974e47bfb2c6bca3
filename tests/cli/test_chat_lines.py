"""What the chat makes of texts, lines and refusals."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.cli.chat.commands import HELP, parse
from skyeim_ws.cli.chat.lines import Line, Tick, clean, content
from skyeim_ws.cli.chat.people import Target
from skyeim_ws.cli.chat.words import refused, stopped, waiting
from skyeim_ws.client import SkyeError, State, StateChanged


@pytest.mark.parametrize(
    "text",
    ["👨\u200d👩\u200d👧", "全角\u3000空格", "שלום\u200f!", "e\u0301", "❤\ufe0f", "\u2067x\u2069"],
)
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jx", "\ufffd[2Jx"),
        ("a\x07\x9b\x00", "a\ufffd\ufffd\ufffd"),
        ("one\r\ntwo\u2028three", "one\n    two\n    three"),
        ("a\tb", "a   b"),
        ("\u202etxt.exe", "\ufffdtxt.exe"),
        ("\ud800", "\ufffd"),
        (None, "None"),
    ],
)
def test_what_could_steer_a_terminal_is_not(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert {unicodedata.category(each) for each in clean(text) if each != "\n"} & {
        "Cc",
        "Cs",
    } == set()


def test_a_line_says_who_when_and_how_far_it_has_come() -> None:
    line = Line("hello", 0, "you", "Ben", tick=Tick.DELIVERED)
    assert str(line) == f"{line.clock} ✓✓ you → Ben: hello"
    line.tick, line.why = Tick.FAILED, "no"
    assert str(line).endswith("✗  you → Ben: hello\n      not sent: no")
    assert str(Line("a note")) == "* a note"
    assert content("x", 1) == "x"
    assert content("http://x", 2) == "[picture] http://x"


def test_commands_are_told_from_messages() -> None:
    to, group = parse("/to 1003"), parse(" /group  g 1 ".strip())
    assert to is not None
    assert group is not None
    assert (to.target, group.target) == (Target(user_id=1003), Target(group_id="g 1"))
    assert parse("hello") is None
    assert parse("//slash") is None
    for line in HELP:
        if line.startswith("/") and not line.startswith("//"):
            name, argument = (
                line.split()[0],
                {"N": "1", "G": "g", "X": "x"}.get(line.split()[1], ""),
            )
            command = parse(f"{name} {argument}")
            assert command is not None
            assert command.wrong == ""
    for wrong in ("/to", "/to ann", "/to 0", f"/to {'9' * 5000}", "/group", "/search", "/fly", "/"):
        command = parse(wrong)
        assert command is not None
        assert command.wrong


def test_refusals_and_ends_are_words() -> None:
    assert refused(SkyeError("not_friend")) == "you are not friends with this user"
    assert refused(SkyeError("invalid", "content: 1 to")) == "content: 1 to"
    assert refused(SkyeError("unreachable")) == "the gateway cannot be reached"
    assert refused(SkyeError("closed")) == "there was no answer in time"
    assert "elsewhere" in stopped("kicked")
    restart = StateChanged(State.WAITING, 1001, "retry_after_ms=2973", 2.9)
    assert waiting(restart, was_open=True) == "the gateway stops or restarts"
    lost = StateChanged(State.WAITING, 1006, "[Errno 111] Connect call failed", 1)
    assert waiting(lost, was_open=True) == "the connection was lost"
    assert waiting(lost, was_open=False) == "the gateway cannot be reached"
