"""What other libraries do not document is used in one module for each of them, and nowhere else."""

import ast
from collections.abc import Iterator
from importlib.metadata import version

import pytest
import tornado.util
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st
from tornado.websocket import WebSocketHandler

from skyeim_ws.conn import tornado_private
from skyeim_ws.rpc.grpc_private import is_connected
from tests.test_imports import MODULES, ROOT, imports, parsed

PRIVATE = {
    "skyeim_ws.conn.tornado_private": "tornado",
    "skyeim_ws.rpc.grpc_private": "grpc",
    "skyeim_ws.store.redis_private": "redis",
}
"""A module -> the library whose private names it may use."""

UNDOCUMENTED = {
    "__dict__",
    "compute_accept_value",
    "connection_class",
    "connection_kwargs",
    "get_state",
    "on_ws_connection_close",
    "wait_for_state_change",
    "ws_connection",
}
"""Names without an underscore that no document of their library has, or only as experimental."""

STANDARD = {"_asdict", "_fields", "_replace", "_make"}
"""Of named tuples, where the underscore keeps them apart from the fields."""

OURS = {"self", "cls"}


def private_names(tree: ast.Module) -> Iterator[str]:
    """Give the private names of others in a module, with their lines."""
    for library, name in imports(tree):
        if any(map(is_private, (*library.split("."), name))):
            yield f"{library} {name}"
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner)) if owner in OURS:
                continue
            case ast.Attribute(attr=name) if is_private(name) or name in UNDOCUMENTED:
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if is_private(name) or name in UNDOCUMENTED:
                yield f"line {node.lineno}: {ast.unparse(node)}"


def is_private(name: str) -> bool:
    """Tell whether a name is private by its underscore."""
    return name.startswith("_") and not name.startswith("__") and name not in STANDARD


@pytest.mark.parametrize("module", MODULES)
def test_private_names_of_others_stand_in_the_modules_for_them(module: str) -> None:
    found = list(private_names(parsed(module)))
    if module in PRIVATE:
        assert found
    else:
        assert found == []


@pytest.mark.parametrize(
    "statement",
    [
        "from tornado.util import _websocket_mask",
        "import redis._parsers",
        "connection._parser.set_handler()",
        "getattr(handler, '_status_code')",
        "channel.get_state()",
        "handler.__dict__ = {}",
    ],
)
def test_the_check_sees_private_names(statement: str) -> None:
    assert list(private_names(ast.parse(statement)))
    assert not list(private_names(ast.parse("self._mine = item._replace(a=1)")))


def test_only_versions_that_were_tested_are_allowed() -> None:
    """The tests run on one minor version of each, and `setup.cfg` allows no other."""
    allowed = (ROOT.parent / "setup.cfg").read_text()
    for library in ("tornado", "redis", "grpcio", "grpcio-health-checking", "grpcio-reflection"):
        major, minor = map(int, version(library).split(".")[:2])
        extra = "[hiredis]" if library == "redis" else ""
        line = f"\n    {library}{extra}>={major}.{minor}"
        assert line in allowed, line
        assert f",<{major}.{minor + 1}\n" in allowed.split(line)[1].splitlines(keepends=True)[0]


# What is done without them.


@given(mask=st.binary(min_size=4, max_size=4), data=st.binary(max_size=300))
def test_a_mask_in_python_is_that_of_tornado(mask: bytes, data: bytes) -> None:
    assert tornado_private.mask_in_python(mask, data) == tornado_private.apply_mask(mask, data)


def test_the_mask_of_tornado_is_there() -> None:
    assert tornado_private.apply_mask is vars(tornado.util)["_websocket_mask"]


def test_a_tornado_with_another_handshake_is_refused_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tornado_private.require_hooks()
    monkeypatch.delattr(WebSocketHandler, "get_websocket_protocol")
    with pytest.raises(ImportError) as refused:
        tornado_private.require_hooks()
    assert str(refused.value) == (
        f"Tornado {tornado.version} has no WebSocketHandler.get_websocket_protocol: install 6.6"
    )


@pytest.mark.gen_test
async def test_a_channel_of_which_nothing_is_known_counts_as_connected() -> None:
    class Unknown:
        """A channel without the experimental part."""

    async with aio.insecure_channel("unix:/nowhere/s") as channel:
        assert not is_connected(channel)
    assert is_connected(Unknown())  # type: ignore[arg-type]
