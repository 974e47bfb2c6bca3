"""`check --connect`: says of Redis and of each service whether it answers, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.store.access import refused_access
from skyeim_ws.store.client import connect
from tests.discovery.etcd_server import needs_etcd, running_etcd
from tests.go_services import go_services
from tests.process.conftest import running, skyeim
from tests.store.servers import Server

CHECK = skyeim("check", "--connect")


def configure(folder: Path, redis: str, services: str) -> None:
    rpc = {"Endpoints": [services], "Timeout": 1000}
    content: dict[str, Any] = {
        "Name": "ws",
        "Port": 0,
        "Mode": "test",
        "Auth": {"AccessSecret": "a secret for tests, longer than 32 bytes"},
        "Redis": {"Host": redis},
        **dict.fromkeys(("MessageRpc", "FriendRpc", "GroupRpc"), rpc),
    }
    (folder / "ws.yaml").write_text(yaml.safe_dump(content))


async def acl(redis: Redis, words: str) -> None:
    await redis.execute_command("ACL", *words.split())  # type: ignore[no-untyped-call]


@pytest.mark.gen_test
async def test_what_answers_is_said_and_nothing_is_left_behind(
    folder: Path, server: Server
) -> None:
    async with (
        Redis(unix_socket_path=str(server.socket)) as redis,
        go_services(redis) as (_, address),
    ):
        configure(folder, str(server.socket), address)
        async with running(folder, *CHECK) as program:
            assert await program.exit_code() == 0
        assert await redis.keys("*") == []
    asked = ["Redis", "MessageRpc", "FriendRpc", "GroupRpc"]
    assert program.lines[1:] == [f"{what}: answers" for what in asked]


@pytest.mark.gen_test
async def test_what_does_not_answer_is_named_and_the_exit_code_is_1(folder: Path) -> None:
    configure(folder, f"{folder}/nowhere.sock", "127.0.0.1:1")
    async with running(folder, *CHECK) as program:
        assert await program.exit_code() == 1
    assert any(line.startswith("Redis: ") for line in program.errors)
    assert any(line.startswith("MessageRpc: does not answer") for line in program.errors)


@needs_etcd
@pytest.mark.gen_test
async def test_etcd_and_the_database_are_asked_too(folder: Path, server: Server) -> None:
    async with (
        running_etcd() as etcd,
        Redis(unix_socket_path=str(server.socket)) as redis,
        go_services(redis) as (_, address),
    ):
        configure(folder, str(server.socket), address)
        content = yaml.safe_load((folder / "ws.yaml").read_text())
        content["Etcd"] = {"Hosts": [etcd.address], "Key": "ws.api"}
        content["MessageRpc"] = {"Etcd": {"Hosts": [etcd.address], "Key": "message.rpc"}}
        content["Database"] = {"DataSource": "mysql://nobody:secret@127.0.0.1:1/skyeim"}
        (folder / "ws.yaml").write_text(yaml.safe_dump(content))
        async with running(folder, *CHECK) as program:
            assert await program.exit_code() == 1
        asked = ["Redis", "Etcd", "FriendRpc", "GroupRpc"]
        assert program.lines[1:] == [f"{what}: answers" for what in asked]
        nothing, message, database = program.errors[-3:]
        assert nothing == "MessageRpc.Etcd: nothing stands under the key message.rpc"
        assert message.startswith("MessageRpc: does not answer")
        assert database.startswith("Database: ")
        assert "secret" not in database
        await etcd.put("message.rpc/7587870000000000001", address)
        content["Database"]["DataSource"] = str(folder / "im.db")
        (folder / "ws.yaml").write_text(yaml.safe_dump(content))
        async with running(folder, *CHECK) as program:
            assert await program.exit_code() == 0
        names = ["Redis", "Etcd", "MessageRpc.Etcd", "MessageRpc", "FriendRpc", "GroupRpc"]
        assert program.lines[1:] == [f"{what}: answers" for what in (*names, "Database")]
        assert not (folder / "im.db").exists()


@needs_etcd
@pytest.mark.gen_test
async def test_what_the_services_need_is_asked_for_them(folder: Path, server: Server) -> None:
    """They are not asked themselves: they are about to be started."""
    async with running_etcd() as etcd:
        configure(folder, str(server.socket), "0.0.0.0:10400")
        content = yaml.safe_load((folder / "ws.yaml").read_text())
        etcd_conf = {"Hosts": [etcd.address], "Key": "message.rpc"}
        content["MessageRpc"] = content["MessageRpc"] | {"Etcd": etcd_conf}
        content["Database"] = {"DataSource": str(folder / "im.db")}
        (folder / "ws.yaml").write_text(yaml.safe_dump(content))
        async with running(folder, *CHECK, "--services") as program:
            assert await program.exit_code() == 0
        asked = ["MessageRpc.Etcd", "Redis", "Database"]
        assert program.lines[1:] == [f"{what}: answers" for what in asked]
    server.kill()
    async with running(folder, *CHECK, "--services") as program:
        assert await program.exit_code() == 1
    said = [line.split(":")[0] for line in program.errors if "warning" not in line]
    assert said == ["MessageRpc.Etcd", "Redis"]


@pytest.mark.gen_test
async def test_the_services_tell_what_a_migration_would_do_and_do_it(folder: Path) -> None:
    migrate = skyeim("services", "migrate")
    async with running(folder, *migrate, "--dry-run") as program:
        assert await program.exit_code() == 0
    assert "CREATE TABLE ws_event (" in program.lines
    assert program.errors == []
    assert not (folder / "data").exists()
    (folder / "data").mkdir()
    async with running(folder, *migrate) as program:
        assert await program.exit_code() == 0
    assert program.lines == ["the database is up to date"]
    async with running(folder, *migrate, "--dry-run") as program:
        assert await program.exit_code() == 0
    assert program.lines == ["-- the database is up to date: nothing would be done"]
    content = yaml.safe_load((folder / "ws.yaml").read_text())
    content["Database"] = {"DataSource": "mysql://nobody:secret@127.0.0.1:1/skyeim"}
    (folder / "ws.yaml").write_text(yaml.safe_dump(content))
    async with running(folder, *migrate, "--dry-run") as program:
        assert await program.exit_code() == 1
    [line] = program.errors
    assert line.startswith("error: the database: ")
    assert "secret" not in line


@pytest.mark.gen_test
async def test_a_user_of_redis_who_may_not_do_all_is_told_what(server: Server) -> None:
    async with Redis(unix_socket_path=str(server.socket)) as redis:
        await acl(redis, "SETUSER narrow on >pass ~* &* +@all -lrem")
        address = RedisAddress(hosts=(str(server.socket),), user="narrow", password="pass")
        client = connect(address)
        try:
            assert (await refused_access(client)).startswith("refuses LREM offline:private:0: ")
            await acl(redis, "SETUSER narrow +lrem resetchannels")
            assert "ws:" in await refused_access(client)
            await acl(redis, "SETUSER narrow &*")
            assert await refused_access(client) == ""
        finally:
            await client.aclose()
            await acl(redis, "DELUSER narrow")
