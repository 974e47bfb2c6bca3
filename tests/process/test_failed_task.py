"""A process whose gateway is no longer whole: it sends its users away and ends."""

import sys
from pathlib import Path

import pytest

from tests.process.conftest import Program, gone, offline, running, user

FAULTY = """
import pathlib
import sys
from skyeim_ws.cli.main import main
from skyeim_ws.conn.heartbeat import Heartbeat

sweep = Heartbeat.sweep

def faulty(heartbeat):
    if pathlib.Path("fault").exists():
        pathlib.Path("fault").unlink()
        raise ZeroDivisionError
    sweep(heartbeat)

Heartbeat.sweep = faulty
sys.exit(main())
"""
"""The program, with a heartbeat that fails once, when there is a file named `fault`."""

DEMO = ("demo", "--port", "0", "--data-dir", "data", "-f", "ws.yaml")


def faulty(folder: Path) -> tuple[str, ...]:
    """Return the command line of the program with the fault."""
    (folder / "faulty.py").write_text(FAULTY)
    return (sys.executable, "faulty.py", *DEMO)


async def fail(folder: Path, program: Program) -> None:
    """Have a permanent task fail."""
    (folder / "fault").touch()
    ended = await program.event("permanent_task_ended", task="heartbeat")
    assert "ZeroDivisionError" in str(ended["exception"])


@pytest.mark.gen_test
async def test_a_failed_task_ends_the_process_in_order_with_exit_code_1(folder: Path) -> None:
    async with running(folder, *faulty(folder)) as program:
        async with user(await program.port(), 1001) as alice:
            assert await offline(alice) == []
            await alice.chat(1002, "for later")
            await fail(folder, program)
            assert await alice.close_code() == 1001
        assert await program.exit_code() == 1
        # In order: the clients first, the backends last.
        assert program.events("gateway_stopped")
        stopped = program.events("child_stopped")
        assert [(entry["child"], entry["exit_code"]) for entry in stopped] == [
            ("services", 0),
            ("valkey", 0),
        ]
        await gone(*(entry["pid"] for entry in stopped))
    async with (
        running(folder, *faulty(folder)) as program,
        user(await program.port(), 1002) as bob,
    ):
        await bob.expect("chat", content="for later")


@pytest.mark.gen_test
async def test_a_worker_with_a_failed_task_is_started_anew(folder: Path) -> None:
    # A worker is started from the command line of the program, so the fault goes in from outside.
    (folder / "sitecustomize.py").write_text(FAULTY.replace("sys.exit(main())\n", ""))
    with (folder / "ws.yaml").open("a") as config:
        config.write("Workers: 2\n")
    command = (sys.executable, "-m", "skyeim_ws", *DEMO)
    async with running(folder, *command, PYTHONPATH=str(folder)) as program:
        await program.event("workers_listening")
        await fail(folder, program)
        died = await program.event("child_died")
        assert died["exit_code"] == 1
        assert await program.child(died["child"], 2)
