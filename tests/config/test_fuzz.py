"""Whatever a configuration file holds: it is a configuration, or one line says what is wrong."""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skyeim_ws.config.check import load, warnings
from skyeim_ws.config.errors import ConfigError
from tests.long import examples

HUSH = "h-u-s-h"

fuzzed = settings(max_examples=examples(150))

PIECES = (
    *("Name", "Port", "Mode", "Auth", "AccessSecret", "Redis", "Pass", "WebSocket", "Origins"),
    *(": ", ":", "- ", "? ", "[", "]", "{", "}", ", ", "\n", "\n  ", "\n    ", "&a ", "*a", "<<: "),
    *(
        "!!int ",
        "!!binary ",
        "!!timestamp ",
        "!x ",
        "|",
        ">",
        "'",
        '"',
        "\\",
        "\\x",
        "\\U0011",
        "#",
    ),
    *("%YAML 1.1\n", "---\n", "...\n", "1", "0x", "1:2", "1e9", ".inf", "~", "yes", "2001-01-01"),
    *("${HOME}", "${", "\t", "\x00", "\x07", "\ufeff", "\u2028", "\U0001f600", "1" * 50),
)
soup = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join)

keys = st.sampled_from(
    [
        *("Name", "Port", "Mode", "Auth", "AccessSecret", "Redis", "Host", "Pass", "WebSocket"),
        *("Origins", "PingInterval", "Log", "Level", "Embedded", "DataDir", "TrustedProxies"),
        *("MessageRpc", "Endpoints", "Etcd", "Hosts", "Shutdown", "WaitTime", "PushEvent"),
        "Secret",
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.binary(max_size=5)
    | st.text(max_size=10)
    | st.sampled_from(["test", "127.0.0.1:6379", "5s", "1" * 70_000, "https://*.example.com"])
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
GOOD: dict[str, Any] = {
    "Name": "ws",
    "Port": 10300,
    "Mode": "test",
    "Auth": {"AccessSecret": HUSH * 10},
    "Embedded": {},
}


def check(data: bytes, *, env: bool = False) -> None:
    """Read a file: there is a configuration, or one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ws.yaml")
        path.write_bytes(data)
        try:
            loaded = load(str(path), env=env)
        except ConfigError as error:
            [line] = str(error).splitlines()
            assert HUSH not in line
            assert line.isprintable()
            assert len(line) < 500
        else:
            assert HUSH not in repr(loaded.config)
            warnings(loaded.config)


@fuzzed
@given(
    soup.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=60), st.booleans()
)
def test_any_text_is_a_configuration_or_refused(data: bytes, env: bool) -> None:
    check(data, env=env)


@fuzzed
@given(st.dictionaries(keys, trees, max_size=6))
@example({"Auth": HUSH})
@example({"Auth": [HUSH]})
@example({"Redis": {"Host": "a:1", "Pass": [HUSH]}})
@example({"Redis": {"Host": "a:1", "Pass": {HUSH: 1}}})
@example({"Database": {"DataSource": [HUSH]}})
def test_any_tree_is_a_configuration_or_refused(changed: dict[str, Any]) -> None:
    text = yaml.safe_dump(GOOD | changed, allow_unicode=True)
    check(text.encode("utf-8", "surrogatepass"))


@fuzzed
@given(st.sampled_from(sorted(PIECES)), st.integers(0, 200), soup)
def test_a_secret_is_never_in_what_is_said(piece: str, place: int, more: str) -> None:
    """The file is cut open somewhere, and something stands there."""
    text = yaml.safe_dump(GOOD | {"Redis": {"Host": "127.0.0.1:6379", "Pass": HUSH}})
    check((text[:place] + piece + more + text[place:]).encode("utf-8", "replace"))
