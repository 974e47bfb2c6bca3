"""Child processes: real ones that end, hang and lose their parent."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.process import children, pdeathsig
from skyeim_ws.process.children import Child, ChildError
from tests.waiting import DEADLINE, until

SLEEP = ("sleep", "60")


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "BACKOFF_FIRST", 0.01)


async def at_once() -> bool:
    return True


async def never() -> bool:
    return False


def alive(pid: int) -> bool:
    """Tell whether the process runs; a zombie that nobody has reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def comm(pid: int | None) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@asynccontextmanager
async def started(*command: str, **options: Any) -> AsyncIterator[Child]:
    options.setdefault("ready", at_once)
    child = Child("test", command, **options)
    await child.start()
    try:
        yield child
    finally:
        await child.stop(0)


@pytest.mark.gen_test
async def test_a_child_runs_until_it_is_stopped() -> None:
    child = Child("test", SLEEP, ready=at_once)
    with capture_logs() as logs:
        await child.start()
        pid = child.pid
        assert pid is not None
        assert alive(pid)
        await until(lambda: comm(pid) == "sleep")
        await child.stop(DEADLINE)
        await child.stop(DEADLINE)
    assert not alive(pid)
    assert [(entry["event"], entry["pid"]) for entry in logs] == [
        ("child_started", pid),
        ("child_stopped", pid),
    ]
    assert logs[1]["exit_code"] == -signal.SIGTERM


@pytest.mark.gen_test
async def test_output_is_appended_to_a_file(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("before ")
    command = ("sh", "-c", "echo out; echo err >&2; exec sleep 60")
    async with started(*command, output=output):
        await until(lambda: output.read_text() == "before out\nerr\n")


@pytest.mark.gen_test
async def test_starting_waits_until_the_child_is_ready(tmp_path: Path) -> None:
    made = tmp_path / "made"

    async def ready() -> bool:
        return made.exists()

    async with started("sh", "-c", f"touch {made}; exec sleep 60", ready=ready):
        assert made.exists()


@pytest.mark.gen_test
async def test_a_child_that_dies_is_started_again() -> None:
    with capture_logs() as logs:
        async with started(*SLEEP) as child:
            first = child.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: child.pid not in (None, first))
            await until(lambda: logs[-1]["event"] == "child_started")
            events = [line["event"] for line in logs]
            assert events == ["child_started", "child_died", "child_started"]
    assert (logs[1]["pid"], logs[1]["exit_code"]) == (first, -9)


@pytest.mark.gen_test
async def test_a_restart_that_fails_is_tried_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    running = tmp_path / "running"
    script = f"test -e {gate} && touch {running} && exec sleep 60"

    async def ready() -> bool:
        return running.exists()

    with capture_logs() as logs:
        async with started("sh", "-c", script, ready=ready) as child:
            gate.unlink()
            running.unlink()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            await until(lambda: logs[-1]["event"] == "child_restart_failed")
            gate.touch()
            await until(lambda: logs[-1]["event"] == "child_started")
            assert [line["event"] for line in logs].count("child_started") == 2


@pytest.mark.gen_test
async def test_a_child_that_ends_at_once_fails_the_start() -> None:
    child = Child("test", ("sh", "-c", "exit 3"), ready=never)
    with pytest.raises(ChildError, match="exit code 3"):
        await child.start()


@pytest.mark.gen_test
async def test_a_command_that_is_not_there_fails_the_start(tmp_path: Path) -> None:
    output = tmp_path / "out"
    child = Child("test", (str(tmp_path / "none"),), ready=never, output=output)
    with pytest.raises(ChildError, match=f"exit code {pdeathsig.CANNOT_EXECUTE}"):
        await child.start()
    assert "No such file" in output.read_text()


@pytest.mark.gen_test
async def test_a_child_that_never_gets_ready_is_killed() -> None:
    child = Child("test", SLEEP, ready=never, ready_timeout=0.05)
    with pytest.raises(ChildError, match=r"not ready in 0\.05 s"):
        await child.start()
    assert child.pid is None


@pytest.mark.gen_test
async def test_a_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    trapped = tmp_path / "trapped"

    async def ready() -> bool:
        return trapped.exists()

    script = f"trap '' TERM; touch {trapped}; while :; do sleep 0.02; done"
    with capture_logs() as logs:
        async with started("sh", "-c", script, ready=ready) as child:
            pid = child.pid
            await child.stop(0.1)
            assert pid is not None
            assert not alive(pid)
    assert [entry["event"] for entry in logs] == ["child_started", "child_killed", "child_stopped"]


PARENT = """
    import asyncio
    from skyeim_ws.process.children import Child

    async def ready():
        return True

    async def main():
        child = Child("test", ["sleep", "60"], ready=ready)
        await child.start()
        print("child", child.pid, flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


@pytest.mark.gen_test
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_child_dies_with_its_parent(how: signal.Signals) -> None:
    """However the parent ends, and without a chance to clean up."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(PARENT), stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    line = b""
    while not line.startswith(b"child"):
        line = await parent.stdout.readline()
        assert line
    pid = int(line.split()[1])
    await until(lambda: comm(pid) == "sleep")
    parent.send_signal(how)
    await parent.wait()
    await until(lambda: not alive(pid))


def tethered(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", pdeathsig.__file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_tether_whose_parent_is_gone_runs_nothing() -> None:
    done = tethered(str(os.getpid() + 1), "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def test_a_tether_becomes_the_command() -> None:
    done = tethered(str(os.getpid()), "--", "sh", "-c", "echo ran; exit 4")
    assert (done.returncode, done.stdout) == (4, "ran\n")


@pytest.mark.parametrize("arguments", [[], ["1", "--"], ["x", "--", "true"], ["1", "true", "x"]])
def test_a_tether_says_how_it_is_used(arguments: list[str]) -> None:
    done = tethered(*arguments)
    assert done.returncode == 1
    assert "usage" in done.stderr
