"""SIGHUP, SIGUSR1 and SIGUSR2: nothing ends by them, and what is asked for is done."""

import asyncio
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.process.conftest import (
    CONFIG,
    Program,
    alive,
    children,
    hear,
    offline,
    running,
    skyeim,
    token,
    user,
)
from tests.waiting import DEADLINE, until
from tests.world import SECRET

DEMO = skyeim("demo", "--port", "0", "--data-dir", "data")
TLS = Path(__file__).parent.parent / "gateway" / "tls"
OTHER_SECRET = "another secret for tests, longer than 32 bytes"


def change(folder: Path, before: str, after: str) -> None:
    """Change the configuration of the folder."""
    text = (folder / "ws.yaml").read_text()
    assert before in text
    (folder / "ws.yaml").write_text(text.replace(before, after))


async def refused(port: int, secret: str, **headers: str) -> int:
    """Return the status with which a handshake of user 1003 is refused; 101 if it is not."""
    try:
        async with connect(
            f"ws://127.0.0.1:{port}/ws?token={token(1003, secret)}", additional_headers=headers
        ):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


@pytest.mark.gen_test
async def test_they_end_neither_gateway_nor_workers_nor_services(folder: Path) -> None:
    (folder / "ws.yaml").write_text(CONFIG + "Workers: 2\n")
    async with running(folder, *DEMO) as program:
        port = (await program.event("workers_listening"))["port"]
        pids = [program.process.pid, *children(program.process.pid)]
        assert len(pids) == 5  # two workers, services, Valkey
        async with user(port, 1001) as alice:
            await offline(alice)
            for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1):
                for pid in pids:
                    os.kill(pid, number)
            # The parent passes them on: each worker has heard SIGHUP at least once.
            await program.event("reloaded", process="worker-0")
            await program.event("reloaded", process="worker-1")
            await alice.chat(1002, "still here")
        assert all(map(alive, pids))
        assert not program.events("child_died")
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0
        assert not program.events("child_killed")


@pytest.mark.gen_test
async def test_the_stacks_of_all_processes_come_into_the_log(folder: Path) -> None:
    (folder / "ws.yaml").write_text(CONFIG + "Workers: 2\n")
    async with running(folder, *DEMO) as program:
        await program.event("workers_listening")
        program.process.send_signal(signal.SIGUSR1)
        for name in ("worker-0", "worker-1"):
            await program.event("thread_stacks", process=name)
            stacks = [each["stack"] for each in program.events("task_stack", process=name)]
            assert any("conn/heartbeat.py" in stack for stack in stacks)
            assert any("store/pipeline.py" in stack for stack in stacks)
        parent = [each for each in program.events("thread_stacks") if each["process"] == "parent"]
        assert "daemon.py" in parent[0]["stacks"] or "asyncio" in parent[0]["stacks"]
        await program.until(lambda: any('"thread_stacks"' in line for line in program.errors))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.gen_test
async def test_a_reload_takes_what_may_change_and_names_what_needs_a_restart(
    folder: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "ws.yaml").write_text(CONFIG + f"Workers: {workers}\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(folder / "notify"))
        supervisor.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        async with running(folder, *skyeim("serve")) as program:
            listening = "gateway_listening" if workers == 1 else "workers_listening"
            port = (await program.event(listening))["port"]
            assert await hear(supervisor) == b"READY=1"
            assert await refused(port, SECRET, Origin="https://elsewhere.example") == 101
            async with user(port, 1001) as alice:
                await offline(alice)
                change(folder, SECRET, OTHER_SECRET)
                change(folder, "Name: process-test", "Name: other")
                change(folder, "Encoding: json", "Encoding: json, Level: debug")
                with (folder / "ws.yaml").open("a") as file:
                    file.write("WebSocket: {Origins: ['https://chat.example'], PingInterval: 50}\n")
                program.process.send_signal(signal.SIGHUP)
                reloading = (await hear(supervisor)).split(b"\n")
                assert reloading[0] == b"RELOADING=1"
                assert re.fullmatch(rb"MONOTONIC_USEC=\d+", reloading[1])
                assert await hear(supervisor) == b"READY=1"
                taken = ["Auth.AccessSecret", "WebSocket.Origins", "Log.Level"]
                for worker in range(workers):
                    which: dict[str, Any] = {"process": f"worker-{worker}"} if workers > 1 else {}
                    assert (await program.event("reloaded", **which))["changed"] == taken
                await program.event("restart_needed")
                needed = program.events("restart_needed")
                assert [each["keys"] for each in needed] == [["Name", "WebSocket.PingInterval"]]
                # Who is there stays, as does an open port.
                assert await alice.quiet() == []
            assert await refused(port, SECRET) == 401
            assert await refused(port, OTHER_SECRET) == 101
            assert await refused(port, OTHER_SECRET, Origin="https://elsewhere.example") == 403
            assert any(line for line in program.lines if '"level": "debug"' in line)
            assert OTHER_SECRET not in "".join(program.lines + program.errors)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("Timeout: none\n", "Timeout"),
        ("WebSocket: {RateLimit: -1}\n", "WebSocket.RateLimit"),
        ("WebSocket: {Origins: [nothing]}\n", "WebSocket.Origins"),
        ("[", "ws.yaml"),
    ],
)
@pytest.mark.gen_test
async def test_a_bad_file_changes_nothing(folder: Path, wrong: str, said: str) -> None:
    async with running(folder, *skyeim("serve")) as program:
        port = await program.port()
        change(folder, SECRET, OTHER_SECRET)
        text = (folder / "ws.yaml").read_text()
        (folder / "ws.yaml").write_text(text + wrong)
        program.process.send_signal(signal.SIGHUP)
        assert said in (await program.event("reload_failed"))["error"]
        assert await refused(port, SECRET) == 101
        assert await refused(port, OTHER_SECRET) == 401
        (folder / "ws.yaml").write_text(text)
        program.process.send_signal(signal.SIGHUP)
        await program.event("reloaded")
        assert await refused(port, OTHER_SECRET) == 101


@pytest.mark.gen_test
async def test_a_published_secret_is_not_taken_by_a_mode_that_is_not_taken(folder: Path) -> None:
    change(folder, "Mode: test", "Mode: pro")
    async with running(folder, *skyeim("serve")) as program:
        await program.port()
        example = (Path(__file__).parents[2] / "etc" / "ws.yaml").read_text()
        [published] = re.findall(r'AccessSecret: "?([^"\s]+)"?', example)
        change(folder, SECRET, published)
        change(folder, "Mode: pro", "Mode: test")
        program.process.send_signal(signal.SIGHUP)
        error = (await program.event("reload_failed"))["error"]
        assert "Auth.AccessSecret" in error
        assert published not in error


def make_certificate(folder: Path, name: str) -> None:
    """Put a new certificate for this name into the folder."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subprocess.run(
        [*command.split(), "-subj", f"/CN={name}", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def shown(port: int) -> str:
    """Return the certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=DEADLINE)


@pytest.mark.gen_test
async def test_a_new_certificate_is_shown_and_a_wrong_one_is_not(folder: Path) -> None:
    make_certificate(folder, "first")
    (folder / "ws.yaml").write_text(CONFIG + "CertFile: cert.pem\nKeyFile: key.pem\n")
    async with running(folder, *skyeim("serve")) as program:
        port = await program.port()
        first = await asyncio.to_thread(shown, port)
        assert first == (folder / "cert.pem").read_text()
        make_certificate(folder, "second")
        second = (folder / "cert.pem").read_text()
        program.process.send_signal(signal.SIGHUP)
        await program.event("reloaded")
        assert await asyncio.to_thread(shown, port) == second
        # A key of another certificate.
        shutil.copy(TLS / "localhost-key.pem", folder / "key.pem")
        change(folder, SECRET, OTHER_SECRET)
        program.process.send_signal(signal.SIGHUP)
        assert "KeyFile key.pem" in (await program.event("reload_failed"))["error"]
        assert await asyncio.to_thread(shown, port) == second


@pytest.mark.gen_test
async def test_log_files_that_were_moved_away_are_opened_anew(folder: Path) -> None:
    change(folder, "Encoding: json", "Encoding: json, Mode: file, ServiceName: ws")
    (folder / "ws.yaml").write_text((folder / "ws.yaml").read_text() + "Workers: 2\n")
    logs = [folder / "logs" / place / "access.log" for place in (".", "worker-0", "worker-1")]
    services = folder / "logs" / "services" / "access.log"
    async with running(folder, *skyeim("serve")) as program:
        await until(partial(has, logs[0], "workers_listening"))
        moved = [log.rename(f"{log}.1") for log in (*logs, services)]
        before = [log.read_text() for log in moved]
        program.process.send_signal(signal.SIGHUP)
        for log in logs:
            await until(partial(has, log, "reloaded"))
        await until(services.exists)
        assert [log.read_text() for log in moved] == before


@pytest.mark.gen_test
async def test_services_alone_survive_them(folder: Path) -> None:
    async with running(folder, *skyeim("services")) as program:
        await program.until(lambda: said(program, "services_listening"))
        for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1):
            program.process.send_signal(number)
        await program.until(lambda: said(program, "thread_stacks"))
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0


def has(log: Path, event: str) -> bool:
    """Tell whether the file is there and holds this event."""
    return log.exists() and f'"{event}"' in log.read_text()


def said(program: Program, event: str) -> bool:
    """Tell whether the services have logged this."""
    return any(f'"{event}"' in line for line in program.errors)
