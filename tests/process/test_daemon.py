"""The process: it starts, says so, stops on a signal, and says why it cannot start."""

import asyncio
import os
import shlex
import signal
import socket
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from skyeim_ws.config.log import LogConf
from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import RpcConf
from skyeim_ws.config.tree import Auth, Config, EmbeddedConf, ShutdownConf
from skyeim_ws.handler import tokens
from skyeim_ws.process import daemon, valkey, welcome
from tests.process.conftest import hear
from tests.waiting import DEADLINE

SECRET = "a secret for tests, longer than 32 bytes"


@pytest.fixture
def config(folder: Path) -> Config:
    """A configuration that leaves everything to the program."""
    return Config(
        path="my etc/ws.yaml",
        name="test",
        host="127.0.0.1",
        port=0,
        auth=Auth(access_secret=SECRET),
        shutdown=ShutdownConf(wrap_up_time=0.1, wait_time=2),
        embedded=EmbeddedConf(data_dir=str(folder / "data")),
    )


@pytest.fixture
def _tests_own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log as the tests have it: configuring it is for a whole process."""
    monkeypatch.setattr(daemon, "configure", lambda _log, **_: None)


def elsewhere(config: Config) -> Config:
    """Return a configuration whose backends are configured, and are not there."""
    rpc = RpcConf(endpoints=("unix:/nowhere/s",))
    redis = RedisConf(host="/nowhere/redis")
    return replace(config, redis=redis, message_rpc=rpc, friend_rpc=rpc, group_rpc=rpc)


@pytest.mark.usefixtures("_tests_own_log")
@pytest.mark.gen_test
async def test_it_serves_until_a_signal_and_its_supervisor_hears_of_it(
    config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor, capture_logs() as logs:
        supervisor.bind(str(folder / "notify"))
        supervisor.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        ports: list[int] = []
        process = asyncio.create_task(
            daemon.run_gateway(config, lambda: config, demo=True, announce=ports.append)
        )
        async with asyncio.timeout(DEADLINE):
            assert await hear(supervisor) == b"READY=1"
            token = tokens.issue(SECRET, 1001, ttl=60)
            async with connect(f"ws://127.0.0.1:{ports[0]}/ws?token={token}") as connection:
                await connection.recv()
                os.kill(os.getpid(), signal.SIGTERM)
                await connection.wait_closed()
                assert connection.close_code == 1001
            assert (await hear(supervisor)).startswith(b"STOPPING=1\n")
            await process
    assert [entry["signal"] for entry in logs if entry["event"] == "signal_received"] == ["SIGTERM"]
    assert [entry["child"] for entry in logs if entry["event"] == "child_stopped"] == [
        "services",
        "valkey",
    ]


@pytest.mark.usefixtures("_tests_own_log")
def test_a_certificate_that_cannot_be_read_is_named(
    config: Config, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    assert daemon.serve(replace(elsewhere(config), cert_file=cert, key_file=key)) == 1
    assert f"error: CertFile {cert}, KeyFile {key}: " in capsys.readouterr().err


@pytest.mark.usefixtures("_tests_own_log")
def test_a_data_folder_that_cannot_be_made_is_named(
    config: Config, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").touch()
    assert daemon.demo(config, None, str(folder / "file" / "data")) == 1
    assert str(folder / "file") in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_named(
    config: Config, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").touch()
    logs = LogConf(mode="file", path=str(folder / "file" / "logs"))
    assert daemon.serve(replace(config, log=logs)) == 1
    assert str(folder / "file") in capsys.readouterr().err


@pytest.mark.parametrize("program", ["/my venv/bin/skyeim-ws", "/somewhere/__main__.py"])
def test_what_is_printed_can_be_typed(
    program: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    text = welcome.welcome(replace(config, port=7))
    (line,) = (line for line in text.splitlines() if line.endswith("--user 1001 --to 1002"))
    typed = shlex.split(line)
    start = [program] if program.endswith("skyeim-ws") else [sys.executable, "-m", "skyeim_ws"]
    file, url = "my etc/ws.yaml", "ws://127.0.0.1:7/ws"
    assert typed[: len(start) + 5] == [*start, "chat", "-f", file, "--url", url]
    token = next(line.split()[1] for line in text.splitlines() if line.startswith("  1001"))
    assert tokens.verify(token, [SECRET]).user_id == 1001


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record what this process would have become."""
    commands: list[list[str]] = []

    def execve(_path: str, command: list[str], _environment: dict[str, str]) -> Any:
        commands.append(command)
        raise OSError("not in a test")

    monkeypatch.setattr(os, "execve", execve)
    return commands


def addresses(command: list[str]) -> list[str]:
    """Return where the services would listen."""
    return [after for name, after in pairwise(command) if name == "--listen"]


def test_services_listen_at_each_endpoint_once(
    config: Config, executed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = RpcConf(endpoints=("h:1", "h:2")), RpcConf(endpoints=("h:1",))
    config = replace(config, message_rpc=one, friend_rpc=other, group_rpc=other)
    assert daemon.run_services(config) == 1
    assert addresses(executed[0]) == ["h:1", "h:2"]
    assert capsys.readouterr().err == "error: not in a test\n"


def test_services_apart_know_a_gateway_with_tls_by_its_certificate(
    config: Config, folder: Path, executed: list[list[str]]
) -> None:
    cert = str(folder / "cert.pem")
    assert daemon.run_services(replace(config, cert_file=cert)) == 1
    options = dict(pairwise(executed[0]))
    assert options["--push-url"].startswith("https://")
    assert options["--push-cert-file"] == cert


def test_services_without_endpoints_hold_the_data_folder(
    config: Config, folder: Path, executed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert daemon.run_services(config) == 1
    assert addresses(executed[0]) == [f"unix:{folder}/data/run/services.sock"]
    with valkey.locked(folder / "data"):
        assert daemon.run_services(config) == 1
    assert len(executed) == 1
    assert f"the data folder {folder}/data is in use" in capsys.readouterr().err
