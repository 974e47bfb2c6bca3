"""The documentation: it names what the code has, its links lead somewhere, its examples work."""

import asyncio
import dataclasses
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from skyeim_ws.config.changes import LIVE
from skyeim_ws.config.loader import parse_duration
from skyeim_ws.config.tree import Config
from skyeim_ws.contract.codes import ERROR_CODES, UNKNOWN_TYPE, CloseCode
from skyeim_ws.contract.names import DEMO_USERS
from tests.store.servers import running_server
from tests.waiting import DEADLINE
from tests.world import world
from tools.api import frames

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()

INBOUND = frames.INBOUND
OUTBOUND = frames.outbound()

REQUIRED = object()
Rows = dict[str, list[str]]


def section(page: str, heading: str) -> str:
    """Return a section of a page, its subsections included."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |\Z)", page, re.M | re.S)
    assert found, f"no section {heading!r}"
    return found[2]


def rows(text: str) -> Rows:
    """Return the table rows of a text: the names in the first cell, and the other cells."""
    found: Rows = {}
    for line in text.splitlines():
        if line.startswith("|"):
            first, *rest = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", first) or [first], rest)
    return found


def go_name(field: dataclasses.Field[Any]) -> str | None:
    default = "".join(word.capitalize() for word in field.name.split("_"))
    name: str | None = field.metadata.get("key", default)
    return name


def keys(cls: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the name and the default of every configuration key."""
    hints = {field.name: field.type for field in dataclasses.fields(cls)}
    for field in dataclasses.fields(cls):
        name = go_name(field)
        if name is None:
            continue
        hint = hints[field.name]
        parts = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        inner = [part for part in parts if dataclasses.is_dataclass(part)]
        if inner:
            group = re.sub(r"^(Message|Friend|Group)Rpc$", "*Rpc", name)
            yield from keys(inner[0], f"{prefix}{group}.")
        else:
            default = field.default
            if default is dataclasses.MISSING:
                made = field.default_factory
                default = REQUIRED if made is dataclasses.MISSING else made()
            yield prefix + name, default


def test_every_configuration_key_is_documented_with_its_default() -> None:
    documented = rows(section(CONFIGURATION, "Configuration"))
    expected = dict(keys(Config))
    assert {name for name in documented if re.match(r"[*A-Z]", name)} == expected.keys()
    for name, default in expected.items():
        shown = documented[name][0].strip("`")
        if default is REQUIRED:
            assert shown == "required", name
            continue
        value = yaml.safe_load(shown)
        if isinstance(default, float) and isinstance(value, str):
            value = parse_duration(value)
        assert (tuple(value) if isinstance(value, list) else value) == default, name


def test_every_key_that_a_reload_takes_is_named() -> None:
    text = section(OPERATIONS, "Signals").partition("A running gateway takes:")[2]
    named = set(re.findall(r"`([A-Z]\w+\.?\w*)`", text.partition("- what is in the files")[0]))
    assert {key.removeprefix("WebSocket.") for key in LIVE} == named - {"WebSocket"}


def test_every_message_type_is_documented() -> None:
    in_code = re.findall(
        r'"(\w+)": route\(', (ROOT / "skyeim_ws/gateway/dispatch_table.py").read_text()
    )
    assert set(in_code) == INBOUND.keys()
    assert rows(section(PROTOCOL, "From the client")).keys() >= INBOUND.keys()
    assert rows(section(PROTOCOL, "From the server")).keys() >= OUTBOUND.keys()


@pytest.mark.parametrize(
    ("heading", "payloads"),
    [("From the client", INBOUND), ("From the server", OUTBOUND)],
    ids=["client", "server"],
)
def test_every_type_has_an_example_with_its_fields(heading: str, payloads: dict[str, Any]) -> None:
    shown: dict[str, set[str]] = {}
    for block in re.findall(r"```json\n(.*?)```", section(PROTOCOL, heading), re.S):
        for line in block.splitlines():
            frame = json.loads(line)
            payload = payloads[frame["type"]]
            if payload is not None:
                strict = msgspec.defstruct(
                    "Strict", [], bases=(payload,), forbid_unknown_fields=True
                )
                msgspec.convert(frame["data"], strict)
            shown.setdefault(frame["type"], set()).update(frame["data"])
    assert shown == {
        kind: set(payload.__struct_encode_fields__) if payload is not None else set()
        for kind, payload in payloads.items()
    }


def test_every_code_is_documented() -> None:
    errors = rows(section(PROTOCOL, "Errors"))
    assert {reason: errors[reason][0] for reason in ERROR_CODES} == {
        reason: str(code) for reason, code in ERROR_CODES.items()
    }
    assert errors["(none)"][0] == str(UNKNOWN_TYPE)
    closing = rows(section(PROTOCOL, "Close codes"))
    assert {int(name) for name in closing if name.isdigit()} == {int(code) for code in CloseCode}


def anchors(page: Path) -> set[str]:
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_the_text_exist(page: Path) -> None:
    places = r"`((?:skyeim_ws|tests|docs|etc|proto|systemd)/[\w./*-]+|[a-z_]+/[a-z_]+\.py)`"
    for name in re.findall(places, page.read_text()):
        found = [*ROOT.glob(name.rstrip("/")), *ROOT.glob(f"skyeim_ws/{name.rstrip('/')}")]
        assert found, name


def shown_code(page: str, heading: str) -> list[str]:
    """Return the code blocks of a section, without the comments of a shell."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", section(page, heading), re.M | re.S)
    return [
        re.sub(r" +# .*$", "", text, flags=re.M) if kind == "sh" else text for kind, text in blocks
    ]


def test_the_chinese_quick_start_has_the_commands_of_the_english_one() -> None:
    chinese = (ROOT / "README.zh-CN.md").read_text()
    english = (ROOT / "README.md").read_text()
    assert shown_code(chinese, "运行") == shown_code(english, "Run it") != []


@pytest.fixture
def redis_socket() -> Iterator[Path]:
    with running_server() as server:
        yield server.socket


@pytest.mark.gen_test
async def test_the_bot_answers(redis_socket: Path, tmp_path: Path) -> None:
    """The example of the client in Python, until a newer login takes its place."""
    [source] = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/python-client.md").read_text(), re.S
    )
    script = tmp_path / "bot.py"
    script.write_text(source)
    me, peer, _ = DEMO_USERS
    async with world(redis_socket, tmp_path) as chat:
        bot = await asyncio.create_subprocess_exec(
            *(sys.executable, script, f"ws://127.0.0.1:{chat.port}/ws", chat.token(me)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            friend = await chat.login(peer)
            await friend.chat(me, "Lunch?")
            await friend.expect("chat", fromUserId=me, content="You said: Lunch?")
            await chat.login(me)
            async with asyncio.timeout(DEADLINE):
                said, errors = await bot.communicate()
        finally:
            if bot.returncode is None:
                bot.kill()
    assert said.decode().split() == ["token", "connecting", "open", "stopped"]
    assert (errors.decode().strip(), bot.returncode) == ("stopped: kicked", 1)


@pytest.mark.gen_test
async def test_the_python_example_chats(redis_socket: Path, tmp_path: Path) -> None:
    """It sends its message, is told that it was delivered, and shows the answer once."""
    [source] = re.findall(r"```python\n(.*?)```", section(PROTOCOL, "A client in Python"), re.S)
    script = tmp_path / "client.py"
    script.write_text(source)
    me, peer, _ = DEMO_USERS
    async with world(redis_socket, tmp_path) as chat:
        friend = await chat.login(peer)
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, script, f"ws://127.0.0.1:{chat.port}/ws"),
            *(chat.token(me), str(peer), "Hällo"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert client.stdout is not None
            await friend.expect("chat", fromUserId=me, content="Hällo")
            await friend.chat(me, "Lunch?")
            await friend.expect("ack", status="delivered")
            async with asyncio.timeout(DEADLINE):
                shown = [await client.stdout.readline() for _ in range(3)]
        finally:
            client.terminate()
            await client.wait()
    assert sorted(line.decode().strip() for line in shown) == ["1002: Lunch?", "delivered", "sent"]
