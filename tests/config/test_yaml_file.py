"""Whatever a file holds, reading it ends soon: with values, or one line that shows no secret."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from skyeim_ws.config.check import load
from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.yaml_file import MAX_BYTES, MAX_NODES, read

GOOD = """
Name: ws
Port: 10300
Mode: test
Auth: {AccessSecret: "a secret that has more than 32 bytes in it"}
Embedded:
"""


def refused(folder: Path, content: str | bytes) -> str:
    """Return the one line with which a file is refused."""
    path = folder / "ws.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as raised:
        load(str(path))
    [line] = str(raised.value).splitlines()
    assert line.startswith(f"config file {path}")
    assert line.isprintable()
    return line.removeprefix(f"config file {path}, ")


def test_what_looks_like_a_date_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "ws.yaml"
    path.write_text("a: 2001-01-01\nb: 2001-99-99\nc: 2001-12-14t21:59:43.10-05:00\nd: =\ne: <<\n")
    assert read(str(path)) == {
        "a": "2001-01-01",
        "b": "2001-99-99",
        "c": "2001-12-14t21:59:43.10-05:00",
        "d": "=",
        "e": "<<",
    }


def test_merged_mappings_give_way_to_what_stands_itself(tmp_path: Path) -> None:
    path = tmp_path / "ws.yaml"
    path.write_text(
        "one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\n"
        "all: {<<: [*one, *two], C: 3}\nagain: {<<: *two, d: 4}\n"
    )
    assert read(str(path)) == {
        "one": {"a": 1, "b": 1},
        "two": {"b": 2, "c": 2},
        "all": {"a": 1, "b": 1, "C": 3},
        "again": {"b": 2, "c": 2, "d": 4},
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Auth: |\n  AccessSecret: hush\n", 'field "Auth" must be a section, found a string'),
        ("Auth:\n  AccessSecret:hush\n", 'field "Auth" must be a section, found a string'),
        ("Redis: redis://:hush@localhost\n", 'field "Redis" must be a section, found a string'),
        ("Redis: {Host: 'a:1', Pass: *hush}\n", "found undefined alias"),
        ("Redis:\n  Pass: *hush\n", 'line 2: found undefined alias ... (at "Pass")'),
        ("Redis:\n  Pass: !hush\n", 'field "Redis.Pass" has a YAML tag'),
        ("Redis:\n  Pass: %hush\n", "line 2: found character ... that cannot start any token"),
        ("Redis:\n  Pass: @hush\n", "line 2: found character ... that cannot start any token"),
        ('Redis:\n  Pass: "hush\\q"\n', 'line 2: found unknown escape character ... (at "Pass")'),
        ("Redis:\n\tPass: hush\n", "line 2: found character '\\t' that cannot start any token"),
        ("Redis: {Pass: hush\n", "expected ',' or '}', but got ':' (at"),
        ("Pass: 'hush'hush'\n", "line 1: expected <block end>, but found '<scalar>' (at"),
        (
            "Name: hush\n---\n",
            "line 2: expected a single document in the stream, but found another",
        ),
        ('Redis:\n  Pass: "hush\\UFFFFFFFF"\n', 'line 2: is not valid YAML (at "Pass")'),
        ('Redis:\n  Pass: "hush\\ud800"\n', 'field "Redis.Pass" holds half of a character'),
        ('Redis:\n  Pass: "hush\\0"\n', 'field "Redis.Pass" holds a null character'),
        ("Redis:\n  Pass: !!binary hush\n", 'field "Redis.Pass" has a YAML tag'),
        ("Redis:\n  Pass: !!python/name:os.system hush\n", 'field "Redis.Pass" has a YAML tag'),
        ("Redis:\n  Pass: !!int hush\n", 'field "Redis.Pass" is no number'),
        ("Redis:\n  Pass: !!int ''\n", 'field "Redis.Pass" is no number'),
        ("Redis:\n  Pass: !!float hush\n", 'field "Redis.Pass" is no number'),
        ("Redis:\n  Pass: !!bool hush\n", 'field "Redis.Pass" has a YAML tag'),
        ("Redis:\n  Pass: !!map hush\n", 'field "Redis.Pass" has a YAML tag'),
        ("Redis:\n  Pass: [hush]\n", 'field "Redis.Pass" must be a string, found a list'),
        ("Redis:\n  Pass: !!int 09\n", 'field "Redis.Pass" is no number'),
        ("Redis: {<<: hush}\n", 'field "Redis" merges what is no mapping'),
        ("Redis: {? [hush] : 1}\n", 'field "Redis" has a key that is no name'),
        ("Redis: &a\n  Pass: *a\n", 'field "Redis.Pass" contains itself'),
        ("Redis: &a {<<: *a}\n", 'field "Redis" contains itself'),
        (f"Port: {'9' * 10_000}\n", 'field "Port" is a number too long'),
        (f"Shutdown: {{WaitTime: '{'1' * 10_000}'}}\n", 'field "Shutdown.WaitTime" must be a time'),
        ("hush\n", "line 1: must be a mapping of keys"),
        ("- hush\n", "line 1: must be a mapping of keys"),
        ("Name: a\nName: b\n", 'line 2: "Name" is set twice'),
        ("Name: hush\x07\n", 'line 1: is not valid YAML (at "Name")'),
        ('TrustedProxies: ["\\x1e\\n"]\n', 'field "TrustedProxies" has "??", which is neither'),
        ('WebSocket: {Origins: ["\\x1e\\n"]}\n', 'field "WebSocket.Origins" has "??" is no origin'),
        ("Mode: 'a\\nb'\n", 'field "Mode" must be one of'),
        ('Mode: "a\\nb\\u202e"\n', 'found "a?b?" (a string)'),
        (f"Name: {'x' * MAX_BYTES}\n", f"is larger than {MAX_BYTES} bytes"),
        (b"Name: \xff\n", "is not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_without_secrets(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    error = refused(tmp_path, with_the_rest(content) if isinstance(content, str) else content)
    assert said in error
    assert "hush" not in error


def with_the_rest(content: str) -> str:
    """Return a file that is good but for this; what is no mapping stays alone."""
    own = re.findall(r"(?m)^(\w+):", content)
    rest = [line for line in GOOD.splitlines() if line.partition(":")[0] not in own]
    return content + "\n".join(rest) if own else content


def _bomb(levels: int, width: int, form: str) -> str:
    lines = ["a0: &a0 {x: 1}" if "<<" in form else "a0: &a0 [x]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} " + form.replace("ALIASES", aliases))
    return "\n".join(lines)


def _wide_merges() -> str:
    big = "big: &big {" + ", ".join(f"k{number}: 1" for number in range(2_000)) + "}\n"
    return big + "\n".join(f"m{number}: {{<<: [*big, *big]}}" for number in range(400))


BOMBS = {
    "aliases": _bomb(30, 100, "[ALIASES]"),
    "merges": _bomb(30, 100, "{<<: [ALIASES]}"),
    "wide merges": _wide_merges(),
    "open lists": "[" * MAX_BYTES,
    "closed lists": "[" * 30_000 + "]" * 30_000,
    "open mappings": "{" * MAX_BYTES,
    "keys in keys": "? " * 30_000,
    "lists in lists": "- " * 30_000,
    "mappings in mappings": "\n".join(" " * level + "a:" for level in range(300)),
    "many keys": "\n".join(f"k{number}: " for number in range(MAX_NODES)),
    "many short": "a:\n" * 20_000,
    "flow keys": "{" + "a: b, " * 10_000 + "}",
    "one word": "a" * (MAX_BYTES - 10),
    "one number": "Port: " + "1" * (MAX_BYTES - 10),
    "one sexagesimal": "Port: " + "1:" * 30_000 + "1",
    "one float": "Port: 1." + "1" * (MAX_BYTES - 10),
    "one duration": "Shutdown: {WaitTime: '" + "1" * 60_000 + "'}",
    "spaces": "a:" + " " * 60_000 + "b",
    "comments": "#\n" * 30_000,
    "documents": "---\n" * 15_000,
    "anchors": "".join(f"&a{number} " for number in range(8_000)),
    "folded": "a: >\n" + " x\n" * 20_000,
    "quoted": 'a: "' + "\\x41" * 15_000 + '"',
    "origin": "WebSocket: {Origins: ['https://" + "a." * 30_000 + "!']}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_reading_ends_within_seconds_of_cpu_and_100_megabytes(tmp_path: Path, name: str) -> None:
    """The kernel ends a process of its own that needs more; a second, or two where it is busy."""
    path = tmp_path / "ws.yaml"
    path.write_text(BOMBS[name])
    program = (
        "import resource, sys\n"
        "from skyeim_ws.config.check import load\n"
        "from skyeim_ws.config.errors import ConfigError\n"
        "used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (used + 2, used + 2))\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (100 << 20, 100 << 20))\n"
        "try:\n"
        "    load(sys.argv[1])\n"
        "except ConfigError as error:\n"
        "    print(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-500:]
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stdout) < 500


def test_the_limits_leave_room_for_any_real_file(tmp_path: Path) -> None:
    """A thousand endpoints, and everything that the examples say."""
    path = tmp_path / "ws.yaml"
    endpoints = ", ".join(f"'message-{number}.internal:10400'" for number in range(1_000))
    path.write_text(GOOD + f"MessageRpc: {{Endpoints: [{endpoints}]}}\n")
    loaded = load(str(path)).config.message_rpc
    assert loaded is not None
    assert len(loaded.endpoints) == 1_000
