"""`check --connect`: says of Redis and of each service whether it answers, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.store.access import refused_access
from skyeim_ws.store.client import connect
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
