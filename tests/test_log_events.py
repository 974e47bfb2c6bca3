"""The catalogue of events in docs/logs.md has what the code logs, and nothing else."""

import ast
import re

import pytest

from tests.events import ROOT, Event, collect, events

CATALOGUE = "docs/logs.md, under Events"
ON_ALL_LINES = {"service", "process", "level", "content", "caller", "event"}

EVENTS = events()


def catalogue() -> dict[str, list[str]]:
    """Return the cells of each row: levels, fields, meaning, what to do."""
    text = (ROOT / "docs" / "logs.md").read_text().partition("\n## Events\n")[2]
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.M)
    assert len({name for name, _ in lines}) == len(lines), "an event has two rows"
    return {name: [cell.strip() for cell in re.split(r"(?<!\\)\|", rest)] for name, rest in lines}


def row(name: str, event: Event) -> str:
    """Return the row that an event needs; its last two cells are for a person to write."""
    fields = ", ".join(f"`{each}`" for each in sorted(event.fields))
    return f"| `{name}` | {', '.join(sorted(event.levels))} | {fields} | ... | ... |"


def test_each_event_of_the_code_has_a_row() -> None:
    rows = catalogue()
    lacking = [
        f"{event.places[0]} logs it; add to {CATALOGUE}: {row(name, event)}"
        for name, event in EVENTS.items()
        if name not in rows
    ]
    assert not lacking, "\n".join(lacking)


def test_each_row_is_of_an_event_of_the_code() -> None:
    gone = [
        f"nothing logs {name}: take its row out of {CATALOGUE}"
        for name in catalogue()
        if name not in EVENTS
    ]
    assert not gone, "\n".join(gone)


def test_rows_are_in_order() -> None:
    assert list(catalogue()) == sorted(catalogue())


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_row_has_the_levels_and_the_fields_of_its_event(name: str) -> None:
    if name not in catalogue():
        pytest.skip("another test says so")
    levels, fields, meaning, to_do = catalogue()[name]
    event = EVENTS[name]
    wanted = f"{' '.join(event.places)}: {CATALOGUE}, the row should begin {row(name, event)}"
    assert set(levels.split(", ")) == event.levels, wanted
    documented = set(re.findall(r"`([^`]+)`", fields))
    assert documented == event.fields, wanted
    assert meaning.strip(". "), f"{CATALOGUE}: say what {name} means"
    assert to_do or event.levels <= {"debug", "info", "slow", "stat"} or name in EXPLAINED, (
        f"{CATALOGUE}: say what an operator should do about {name}"
    )


EXPLAINED = {"task_stack", "thread_stacks"}
"""An operator has asked for these."""


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_no_field_has_the_name_of_one_on_all_lines(name: str) -> None:
    event = EVENTS[name]
    assert not event.fields & ON_ALL_LINES, f"{event.places}: call the field something else"
    assert not event.fields & {"user_id", "group_id"}, f"{event.places}: `user` or `group`"


def test_the_code_is_read_rightly() -> None:
    code = """
log = structlog.get_logger()
slow = structlog.get_logger(SLOW_LOG)
def f(error, more):
    log.warning("lost", error=error)
    log.exception("lost", exc_info=error)
    slow.warning("slow_thing", **more)
    self.timings.note("slow_call", 1.0, "label", method="m")
    other.warning("not ours")
"""
    found: dict[str, Event] = {}
    collect(ast.parse(code), "f.py", found)
    assert {name: (event.levels, event.fields, event.open) for name, event in found.items()} == {
        "lost": ({"warn", "error"}, {"error"}, False),
        "slow_thing": ({"slow"}, {"duration"}, True),
        "slow_call": ({"slow"}, {"method", "duration"}, False),
    }
    with pytest.raises(AssertionError, match=r"f\.py:2: the name of an event must be a constant"):
        collect(ast.parse("log = structlog.get_logger()\nlog.info(name)"), "f.py", {})
