"""What systemd hears, over a real datagram socket."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from skyeim_ws.ops import systemd
from tests.waiting import DEADLINE, until


@pytest.fixture(params=["path", "abstract"])
def supervisor(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with (
        tempfile.TemporaryDirectory(prefix="skyeim-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        name = str(Path(folder, "notify"))
        if request.param == "abstract":
            listener.bind("\0" + name)
            name = "@" + name
        else:
            listener.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        listener.settimeout(DEADLINE)
        yield listener


def test_a_state_is_one_datagram(supervisor: socket.socket) -> None:
    systemd.notify(systemd.READY)
    assert supervisor.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with capture_logs() as logs:
        systemd.notify(systemd.READY)
    assert logs == []


def test_a_supervisor_that_is_gone_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    with capture_logs() as logs:
        systemd.notify(systemd.READY)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("systemd_not_notified", "warning")
    ]


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval"),
    [
        (None, None, None),
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_asks(
    microseconds: str | None,
    pid: str | None,
    interval: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pid = str(os.getpid()) if pid == "own" else pid
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert systemd.watchdog_interval() == interval


async def ready() -> None:
    """Be ready at once."""


@pytest.mark.parametrize("when", [None, ready])
@pytest.mark.gen_test
async def test_a_service_is_said_to_be_ready_until_that_is_heard(
    supervisor: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    when: Callable[[], Awaitable[None]] | None,
) -> None:
    """The socket of a systemd that is busy is full."""
    monkeypatch.setattr(systemd, "AGAIN_SECONDS", 0.01)
    while systemd.notify("X=1"):
        pass
    with capture_logs() as logs:
        async with systemd.running(when):
            await until(lambda: len(logs) > 1)
            while (heard := await asyncio.to_thread(supervisor.recv, 100)) == b"X=1":
                pass
    assert heard == b"READY=1"


@pytest.mark.gen_test
async def test_a_running_service_is_ready_then_alive_and_says_how_it_does(
    supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    loop = asyncio.get_running_loop()
    supervisor.setblocking(False)
    said = iter(range(100))
    async with (
        asyncio.timeout(DEADLINE),
        systemd.running(status=lambda: f"{next(said)} connections"),
    ):
        heard = [await loop.sock_recv(supervisor, 100) for _ in range(3)]
    assert heard == [
        b"READY=1",
        b"WATCHDOG=1\nSTATUS=0 connections",
        b"WATCHDOG=1\nSTATUS=1 connections",
    ]


def test_a_stop_asks_for_the_time_that_it_takes() -> None:
    assert systemd.stopping(2.5) == "STOPPING=1\nEXTEND_TIMEOUT_USEC=2500000"


@pytest.mark.gen_test
async def test_without_a_watchdog_there_are_no_signs_of_life(
    supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with systemd.running():
        assert supervisor.recv(100) == b"READY=1"
        await asyncio.sleep(0)
    supervisor.setblocking(False)
    with pytest.raises(BlockingIOError):
        supervisor.recv(100)
