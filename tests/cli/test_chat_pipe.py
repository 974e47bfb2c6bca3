"""The chat with a pipe or a file as its input: what it sends, says and returns."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import IO, Any

import pytest

from tests.sdk.conftest import MakeWorld, make_world, shared_redis  # noqa: F401
from tests.waiting import DEADLINE


async def chat(
    *arguments: str, given: str = "", file: "IO[bytes] | None" = None
) -> tuple[int | None, list[str], str]:
    """Run the chat with this input; return its exit code, what it said, and its errors."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "skyeim_ws", "chat", *arguments),
        stdin=file or PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    async with asyncio.timeout(DEADLINE):
        output, errors = await program.communicate(None if file else given.encode())
    return program.returncode, output.decode().splitlines(), errors.decode()


def to(world: Any, *target: str, user: int = 1001) -> tuple[str, ...]:
    url = f"ws://127.0.0.1:{world.port}/ws"
    return ("--user", str(user), "--token", world.token(user), "--url", url, *target)


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["pipe", "file"])
async def test_each_line_is_a_message_and_all_are_stored(
    kind: str,
    make_world: MakeWorld,  # noqa: F811
    tmp_path: Path,
) -> None:
    """In order, whole, in no colours; an empty line is none, and a / commands nothing."""
    lines = [f"line {number}" for number in range(50)] + ["/quit", "x" * 9000, "👨\u200d👩\u200d👧"]
    source = tmp_path / "lines"
    source.write_text("\n\n".join(lines))
    async with make_world() as world:
        bob = await world.login(1002)
        with source.open("rb") as file:
            code, output, errors = await chat(
                *to(world, "--to", "1002"),
                given=source.read_text(),
                file=file if kind == "file" else None,
            )
        assert (code, errors) == (0, "")
        assert [(await bob.expect("chat"))["content"] for _ in lines] == lines
        assert len(output) == len(lines)
        assert all(" you → Ben Okafor: " in line for line in output)
        assert "\x1b" not in "".join(output)


@pytest.mark.gen_test
async def test_what_was_not_sent_is_said_and_is_exit_code_1(
    make_world: MakeWorld,  # noqa: F811
) -> None:
    async with make_world() as world:
        code, output, _ = await chat(*to(world, "--to", "4711"), given="hello\n")
        assert (code, output[-1]) == (1, "      not sent: you are not friends with this user")
        long = f"{'x' * 16_385}\n{'y' * 1_100_000}\nafter\n"
        code, output, _ = await chat(*to(world, "--group", "g_demo"), given=long)
        assert code == 1
        assert [line for line in output if "not sent" in line] == [
            "      not sent: content: 1 to 16384 characters are wanted",
            "* ✗ not sent: a line is longer than 1 MiB",
        ]
        assert output[-1].endswith("✓  you → Demo group: after")


@pytest.mark.gen_test
async def test_nobody_to_write_to_is_wrong_usage() -> None:
    code, output, errors = await chat("--user", "1001", "--token", "T", given="hello\n")
    assert (code, output) == (2, [])
    assert errors == "error: --to or --group is wanted: whom are the lines for?\n"


@pytest.mark.gen_test
async def test_a_token_that_is_not_taken_is_the_end(
    make_world: MakeWorld,  # noqa: F811
) -> None:
    async with make_world() as world:
        url = f"ws://127.0.0.1:{world.port}/ws"
        target = ("--user", "1001", "--to", "1002", "--url", url)
        code, output, _ = await chat(*target, "--token", "wrong", given="hello\n")
        assert (code, output[-1]) == (1, "✗ the gateway does not accept the token")
        config = Path("etc/ws.yaml")  # another secret
        code, output, _ = await chat(*target, "-f", str(config), given="hello\n")
        assert (code, output[-1]) == (1, "✗ the gateway does not accept the token")


@pytest.mark.gen_test
async def test_without_a_gateway_it_says_so_in_words() -> None:
    """After some seconds of trying."""
    arguments = ("--user", "1001", "--to", "1002", "--token", "T", "--url", "ws://127.0.0.1:9/ws")
    code, output, _ = await chat(*arguments, given="hello\n")
    assert (code, output[-1]) == (1, "      not sent: the gateway cannot be reached")


@pytest.mark.gen_test
async def test_an_empty_input_ends_at_once(make_world: MakeWorld) -> None:  # noqa: F811
    async with make_world() as world:
        assert await chat(*to(world, "--to", "1002")) == (0, [], "")
