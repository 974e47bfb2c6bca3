"""A worker that hangs is found by its silence, and systemd hears nothing meanwhile."""

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from skyeim_ws.ops import systemd
from skyeim_ws.process.signs_of_life import SignsOfLife, patience, signs_of_life
from tests.waiting import until


class Worker:
    """A child that notes what it is sent."""

    name, pid = "worker-0", 17

    def __init__(self) -> None:
        self.signals: list[int] = []

    def signal(self, number: int) -> None:
        self.signals.append(number)


def up(signs: SignsOfLife) -> bool:
    return signs.answers


def say(signs: SignsOfLife, state: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), signs.address)


@pytest.mark.gen_test
async def test_a_silent_worker_is_killed_and_not_again_before_it_is_ready() -> None:
    worker = Worker()
    with signs_of_life() as signs, capture_logs() as logs:
        assert not await signs.ready()
        say(signs, systemd.READY)
        assert await signs.ready()
        assert up(signs)
        watch = asyncio.create_task(signs.watch(cast(Any, worker), 0.1))
        await until(lambda: not signs.answers)
        await until(lambda: worker.signals)
        assert not await signs.ready()  # it starts again
        for _ in range(20):
            say(signs, systemd.ALIVE)
            await asyncio.sleep(0.01)
        assert not up(signs)
        say(signs, systemd.READY)
        assert await signs.ready()
        assert up(signs)
        await until(lambda: len(worker.signals) == 2)
        watch.cancel()
        await asyncio.wait({watch})
    assert worker.signals == [signal.SIGKILL] * 2
    assert [(entry["event"], entry["child"], entry["pid"]) for entry in logs] == [
        ("worker_hangs", "worker-0", 17)
    ] * 2


def test_a_worker_may_be_silent_for_half_of_what_systemd_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert patience() == 15
    monkeypatch.delenv("WATCHDOG_USEC")
    assert patience() == 15


@pytest.mark.gen_test
async def test_there_are_signs_of_life_only_while_all_are_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    well, asked = False, 0

    def alive() -> bool:
        nonlocal asked
        asked += 1
        return well

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        async with systemd.running(alive=alive):
            await until(lambda: asked > 3)
            assert heard.recv(100) == b"READY=1"
            with pytest.raises(BlockingIOError):
                heard.recv(100)
            well = True
            assert await asyncio.get_running_loop().sock_recv(heard, 100) == b"WATCHDOG=1"


@pytest.mark.gen_test
async def test_the_status_of_a_worker_is_what_it_has_said_last() -> None:
    with signs_of_life() as signs:
        for said in (systemd.READY, f"{systemd.ALIVE}\n{systemd.STATUS}3 connections"):
            say(signs, said)
        assert signs.status == "not ready"
        assert await signs.ready()
        assert signs.status == "3 connections"
        say(signs, systemd.ALIVE)
        await signs.ready()
        assert signs.status == "3 connections"
