"""How the package is laid out: who may import whom, and what every module keeps to."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import skyeim_ws

ROOT = Path(skyeim_ws.__file__).parent
PACKAGE = ROOT.name
GENERATED = ROOT / "contract" / "pb"
MAX_LINES = 350

MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if not path.is_relative_to(GENERATED)
}

ROW = re.compile(r"\| `(?P<room>\w+)` +\| (?P<floor>\d) +\|[^|]+\| (?P<imports>[^|]*)\|")
NAME = re.compile(r"`([\w.]+)`")
HOUSE = (ROOT.parent / "docs/architecture.md").read_text().split("\n## ")[2]
ROWS = [row for line in HOUSE.splitlines() if (row := ROW.match(line))]

DIRECTIONS = {row["room"]: set(NAME.findall(row["imports"])) for row in ROWS}
"""A room -> what else of the package it may import, from the document; a room always sees itself.

A name with a dot in it allows that part of another room alone.
"""

FLOOR = {row["room"]: int(row["floor"]) for row in ROWS}

WIRING = {"cli", "process", "gateway"}
"""Only they may see the whole configuration; each other part gets its own section."""

SECTIONS = {
    "ops": {"FieldKeysConf", "LogConf", "TelemetryConf", "problems"},
    "discovery": {"EtcdConf"},
}
"""What a room may take from the configuration."""

PURE = {"conn", "logic"}
PURE_LIBRARIES = {"msgspec", "tornado", "structlog"}

MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop"} | {
    "popitem",
    "popleft",
    "remove",
    "setdefault",
    "update",
}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Give what is imported anywhere in a module: the module's name, and the name taken from it."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, "") for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, "relative imports hide the direction of an arrow"
                assert module is not None
                yield from ((module, alias.name) for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module))]
            ):
                yield module, ""


def place(module: str) -> str:
    """Return where a module stands inside the package: `conn.hub`, `config`; `__init__` on top."""
    return module.partition(".")[2] or "__init__"


def wrong_arrow(importer: str, module: str, name: str) -> str | None:
    """Say what is wrong with an import, if anything is."""
    source = place(importer).partition(".")[0]
    library = module.partition(".")[0]
    if library != PACKAGE:
        allowed = library in PURE_LIBRARIES or library in sys.stdlib_module_names
        return None if allowed or source not in PURE else f"{importer} -> {module}"
    if f"{module}.{name}" in MODULES:
        module, name = f"{module}.{name}", ""
    target = place(module)
    arrow = f"{importer} -> {module}" + (f" ({name})" if name else "")
    if target.startswith("config") and name in ("Config", "") and source not in WIRING | {"config"}:
        return f"{arrow}: only {sorted(WIRING)} see the whole configuration"
    if target.startswith("config") and source in SECTIONS and name not in SECTIONS[source]:
        return arrow
    known = {source} | DIRECTIONS[source]
    if any(target == allowed or target.startswith(allowed + ".") for allowed in known):
        return None
    return arrow


def parsed(module: str) -> ast.Module:
    """Return the syntax tree of one of our modules."""
    return ast.parse(MODULES[module].read_text())


def module_level_containers(tree: ast.Module) -> set[str]:
    """Return the names that hold a dictionary, a list or a set, made when the module is loaded."""
    made = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp, ast.Call)
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value) if isinstance(value, made):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if isinstance(value, made):
                names.add(name)
    return names


def mutations(tree: ast.Module) -> Iterator[str]:
    """Give what changes a name of the module: `global`, and containers that are written to."""
    containers = module_level_containers(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Global(names=names):
                yield f"line {node.lineno}: global {', '.join(names)}"
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                if name in containers:
                    yield f"line {node.lineno}: {name}[...] is written"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
                if name in containers and method in MUTATORS:
                    yield f"line {node.lineno}: {name}.{method}()"


def test_every_room_has_a_row() -> None:
    """A new room has to say what it may import, and a row has a room."""
    assert {place(module).partition(".")[0] for module in MODULES} == set(DIRECTIONS)


def test_arrows_lead_to_a_lower_floor() -> None:
    """So there is no circle of rooms."""
    upward = [
        f"{room} -> {other}"
        for room, others in DIRECTIONS.items()
        for other in others
        if FLOOR[other.partition(".")[0]] <= FLOOR[room]
    ]
    assert upward == []


def test_every_arrow_of_the_document_is_there() -> None:
    """What nothing imports is not allowed either."""
    used = {
        (place(module).partition(".")[0], place(target))
        for module in MODULES
        for library, name in imports(parsed(module))
        if library.partition(".")[0] == PACKAGE
        for target in [f"{library}.{name}" if f"{library}.{name}" in MODULES else library]
    }
    idle = [
        f"{room} -> {other}"
        for room, others in DIRECTIONS.items()
        for other in others
        if not any(
            source == room and f"{target}.".startswith(f"{other}.") for source, target in used
        )
    ]
    assert idle == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even for types alone: what two modules share belongs into a third one below them."""
    arrows = {
        module: {
            f"{library}.{name}" if f"{library}.{name}" in MODULES else library
            for library, name in imports(parsed(module))
        }
        & set(MODULES)
        for module in MODULES
    }
    while leaves := {module for module, targets in arrows.items() if not targets & set(arrows)}:
        arrows = {module: targets for module, targets in arrows.items() if module not in leaves}
    assert sorted(arrows) == []


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_the_right_way(module: str) -> None:
    found = [wrong_arrow(module, *imported) for imported in imports(parsed(module))]
    assert [arrow for arrow in found if arrow] == []


@pytest.mark.parametrize(
    ("importer", "statement", "allowed"),
    [
        ("skyeim_ws.conn.hub", "from skyeim_ws.contract.codes import Reason", True),
        ("skyeim_ws.conn.hub", "from skyeim_ws.logic.ports import Refused", False),
        ("skyeim_ws.conn.hub", "import redis", False),
        ("skyeim_ws.logic.chat", "import grpc.aio", False),
        ("skyeim_ws.logic.chat", "from skyeim_ws.handler import base", False),
        ("skyeim_ws.logic.chat", "def f():\n    from skyeim_ws.store.client import connect", False),
        ("skyeim_ws.handler.base", "from skyeim_ws.rpc.pool import Pool", False),
        ("skyeim_ws.store.client", "from skyeim_ws.config.tree import RedisConf", False),
        ("skyeim_ws.store.client", "import skyeim_ws.rpc.pool", False),
        ("skyeim_ws.services.db", "from skyeim_ws.contract.pb import message_pb2", True),
        ("skyeim_ws.services.db", "from skyeim_ws.rpc.pool import Pool", False),
        ("skyeim_ws.services.db", "from skyeim_ws.rpc import pool", False),
        ("skyeim_ws.services.db", "from skyeim_ws.contract.codes import Reason", True),
        ("skyeim_ws.services.db", "from skyeim_ws.conn.hub import Hub", False),
        ("skyeim_ws.ops.logs", "from skyeim_ws.config.log import LogConf", True),
        ("skyeim_ws.ops.logs", "from skyeim_ws.config.tree import RedisConf", False),
        ("skyeim_ws.ops.logs", "from skyeim_ws import config", False),
        ("skyeim_ws.rpc.pool", "from skyeim_ws import __version__", True),
        ("skyeim_ws.handler.tokens", "from skyeim_ws.config.tree import Config", False),
        ("skyeim_ws.cli.main", "importlib.import_module('skyeim_ws.gateway.app')", False),
        ("skyeim_ws.gateway.app", "from skyeim_ws.config.tree import Config", True),
    ],
)
def test_the_check_tells_right_from_wrong(importer: str, statement: str, allowed: bool) -> None:
    (imported,) = imports(ast.parse(statement))
    assert (wrong_arrow(importer, *imported) is None) == allowed


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_one_small_idea(module: str) -> None:
    """Its first line states the idea; it holds no state and leaves nothing to be done."""
    text = MODULES[module].read_text()
    assert text.startswith('"""')
    assert not text.startswith('"""\n')
    assert len(text.splitlines()) <= MAX_LINES
    assert "TODO" not in text
    assert list(mutations(ast.parse(text))) == []


def test_the_check_sees_state() -> None:
    guilty = "CACHE = {}\ndef f(x):\n    global y\n    CACHE[x] = 1\n    CACHE.update(a=1)\n"
    assert len(list(mutations(ast.parse(guilty)))) == 3
    assert list(mutations(ast.parse("NAMES = {1: 2}\ndef f(x):\n    return NAMES[x]\n"))) == []
