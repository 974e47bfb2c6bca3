"""How the package is laid out: who may import whom, and what every module keeps to."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import skyeim_ws

ROOT = Path(skyeim_ws.__file__).parent
PACKAGE = ROOT.name
GENERATED = ROOT / "rpc" / "pb"
MAX_LINES = 350

MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if not path.is_relative_to(GENERATED)
}

# A room, or a module beside the rooms -> what else of the package it may import. A room always
# sees itself; a name with a dot in it allows that part of another room alone. Modules of one
# family, `chat_client` and `chat_conversation`, count as one.
FAMILIES = ("admin", "chat")
DIRECTIONS = {
    "conn": set[str](),
    "logic": {"conn"},
    "handler": {"conn", "logic", "tokens"},
    "store": {"conn", "logic"},
    "rpc": {"conn", "logic", "__init__"},
    "services": {"rpc.pb"},
    "ops": {"config"},
    "conf_loader": set[str](),
    "conf_redis": {"conf_loader"},
    "config": {"conf_loader", "conf_redis"},
    "tokens": set[str](),
    "chat": {"conn.codes"},
    "admin": {"config", "embedded", "ops.valkey", "rpc.pb"},
    "embedded": {"config", "ops"},
    "edge": {"config", "conn", "handler", "logic", "ops"},
    "outside": {"config", "embedded", "logic", "rpc", "store"},
    "app": {
        "config",
        "conn",
        "edge",
        "embedded",
        "handler",
        "logic",
        "ops",
        "outside",
        "rpc",
        "store",
    },
    "workers": {"config", "embedded", "ops"},
    "daemon": {"app", "config", "embedded", "logic.ports", "ops", "outside", "tokens", "workers"},
    "worker": {"daemon", "workers"},
    "cli": {"__init__", "admin", "chat", "conf_loader", "config", "daemon", "tokens"},
    "__main__": {"cli"},
    "__init__": set[str](),
}

WIRING = {"cli", "admin", "app", "edge", "embedded", "daemon", "outside", "workers"}
"""Only they may see the whole configuration; each other part gets its own section."""

SECTIONS = {"ops": {"LogConf"}}
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
    inside = module.partition(".")[2] or "__init__"
    family = inside.partition("_")[0]
    return family if family in FAMILIES else inside


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
    if target == "config" and name in ("Config", "") and source not in WIRING:
        return f"{arrow}: only {sorted(WIRING)} see the whole configuration"
    if target == "config" and source in SECTIONS and name not in SECTIONS[source]:
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


def test_every_place_has_its_directions() -> None:
    """A new room or module beside the rooms has to say what it may import."""
    assert {place(module).partition(".")[0] for module in MODULES} == set(DIRECTIONS)


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_the_right_way(module: str) -> None:
    found = [wrong_arrow(module, *imported) for imported in imports(parsed(module))]
    assert [arrow for arrow in found if arrow] == []


@pytest.mark.parametrize(
    ("importer", "statement", "allowed"),
    [
        ("skyeim_ws.conn.hub", "from skyeim_ws.conn.codes import Reason", True),
        ("skyeim_ws.conn.hub", "from skyeim_ws.logic.ports import Refused", False),
        ("skyeim_ws.conn.hub", "import redis", False),
        ("skyeim_ws.logic.chat", "import grpc.aio", False),
        ("skyeim_ws.logic.chat", "from skyeim_ws.handler import base", False),
        ("skyeim_ws.logic.chat", "def f():\n    from skyeim_ws.store.client import connect", False),
        ("skyeim_ws.handler.base", "from skyeim_ws.rpc.pool import Pool", False),
        ("skyeim_ws.store.client", "from skyeim_ws.config import RedisConf", False),
        ("skyeim_ws.store.client", "import skyeim_ws.rpc.pool", False),
        ("skyeim_ws.services.db", "from skyeim_ws.rpc.pb import message_pb2", True),
        ("skyeim_ws.services.db", "from skyeim_ws.rpc.pool import Pool", False),
        ("skyeim_ws.services.db", "from skyeim_ws.rpc import pool", False),
        ("skyeim_ws.services.db", "from skyeim_ws.conn.codes import Reason", False),
        ("skyeim_ws.ops.logs", "from skyeim_ws.config import LogConf", True),
        ("skyeim_ws.ops.logs", "from skyeim_ws.config import RedisConf", False),
        ("skyeim_ws.ops.logs", "from skyeim_ws import config", False),
        ("skyeim_ws.rpc.pool", "from skyeim_ws import __version__", True),
        ("skyeim_ws.tokens", "from skyeim_ws.config import Config", False),
        ("skyeim_ws.cli", "importlib.import_module('skyeim_ws.app')", False),
        ("skyeim_ws.app", "from skyeim_ws.config import Config", True),
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
