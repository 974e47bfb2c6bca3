"""The events that the program may log, as its code has them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "skyeim_ws"

LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warn",
    "error": "error",
    "exception": "error",
    "critical": "fatal",
}
KINDS = {"SLOW_LOG": "slow", "STAT_LOG": "stat"}

NOT_FIELDS = {"exc_info", "label"}
"""What a call may have that is no field: a traceback, and what only the timings look at."""


@dataclass
class Event:
    """Where an event is logged, at which levels, and with which fields."""

    places: list[str] = field(default_factory=list)
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    open: bool = False
    """Whether it has fields besides, which are known when it is logged."""


def events() -> dict[str, Event]:
    """Return all events of the package by name."""
    found: dict[str, Event] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "pb" not in path.parts:
            collect(ast.parse(path.read_text()), str(path.relative_to(ROOT)), found)
    return found


def collect(tree: ast.Module, place: str, found: dict[str, Event]) -> None:
    """Add the events of a module."""
    loggers = dict(_loggers(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if (
                name in loggers and method in LEVELS
            ):
                level = loggers[name] or LEVELS[method]
            case ast.Call(func=ast.Attribute(attr="note")) if _name_of(node).startswith("slow_"):
                level = "slow"
            case _:
                continue
        event = _name_of(node)
        where = f"{place}:{node.lineno}"
        if not event:
            if level != "slow":  # `Timings.note`, which is given the name
                raise AssertionError(f"{where}: the name of an event must be a constant")
            continue
        entry = found.setdefault(event, Event())
        entry.places.append(where)
        entry.levels.add(level)
        names = {keyword.arg for keyword in node.keywords}
        entry.open |= None in names
        entry.fields |= {name for name in names if name} - NOT_FIELDS
        if level == "slow":
            entry.fields.add("duration")


def _loggers(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Give the names of loggers, and the level of their lines where the logger decides it."""
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Attribute(attr="get_logger"), args=arguments),
            ):
                kinds = [KINDS[each.id] for each in arguments if isinstance(each, ast.Name)]
                yield name, kinds[0] if kinds else ""


def _name_of(call: ast.Call) -> str:
    match call.args:
        case [ast.Constant(value=str(name)), *_]:
            return name
    return ""
