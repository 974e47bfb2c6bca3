"""The swap for the Go gateway, as docs/migration.md tells it: its file, its services, its etcd."""

import json
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient

from tests.discovery.etcd_server import needs_etcd, running_etcd
from tests.go_services import Go, go_services
from tests.ports import free_port
from tests.process.conftest import running, user
from tests.store.servers import Server
from tests.world import SECRET

pytestmark = needs_etcd

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/migration.md").read_text()
GO_FILE = (ROOT / "tests/data/go_gateway.yaml").read_text()

CHECK, CONNECT, SERVE, HEALTH = (
    shlex.split(command) for command in re.findall(r"^```sh\n(.+)\n```$", PAGE, re.MULTILINE)
)


def ours(command: list[str]) -> list[str]:
    """Return a command of the page as the tests run it."""
    assert command[0] == "skyeim-ws"
    return [sys.executable, "-m", "skyeim_ws", *command[1:]]


@asynccontextmanager
async def deployment(folder: Path, server: Server) -> AsyncIterator[tuple[Go, Redis, int]]:
    """Run what surrounds a Go gateway; its file lies in the folder, with a port of its own."""
    async with (
        running_etcd() as etcd,
        Redis(unix_socket_path=str(server.socket)) as redis,
        go_services(redis) as (go, address),
    ):
        for key in ("message.rpc", "friend.rpc", "group.rpc"):
            await etcd.put(f"{key}/7587870000000000001", address)
        port = free_port()
        changes = {
            "Port: 10300": f"Port: {port}",
            "127.0.0.1:2379": etcd.address,
            "127.0.0.1:16379": str(server.socket),
            "a secret of the deployment, long enough": SECRET,
        }
        text = GO_FILE
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        (folder / "ws.yaml").write_text(text)
        go.befriend(1001, (1002, 1003))
        go.add_group("g_team", 1001, 1002)
        yield go, redis, port


@pytest.mark.gen_test
async def test_the_swap_as_the_page_tells_it(folder: Path, server: Server) -> None:
    async with deployment(folder, server) as (go, redis, port):
        go.add_unread(1002, 1001, 40)
        for command in (CHECK, CONNECT):
            async with running(folder, *ours(command)) as program:
                assert await program.exit_code() == 0, program.errors
        assert await redis.keys("*") == []

        async with running(folder, *ours(SERVE)) as program:
            await program.event("gateway_listening")
            async with user(port, 1001) as alice, user(port, 1002) as bob:
                unread = [(await alice.expect("chat"))["content"] for _ in range(40)]
                assert unread == [f"old {number}" for number in range(40)]
                await alice.chat(1002, "hello")
                await bob.expect("chat", content="hello")
                await alice.send("group_chat", groupId="g_team", content="all")
                await bob.expect("group_chat", content="all", seq=1)
                await alice.chat(1003, "for later", msgId="m-later")
                answer = await AsyncHTTPClient().fetch(HEALTH[-1].replace("10300", str(port)))
                assert json.loads(answer.body)["online"] == 2
            program.process.send_signal(signal.SIGTERM)
            assert await program.exit_code() == 0

        # What the Go gateway finds when it is back: the message as it writes it itself.
        [entry] = await redis.lrange("offline:private:1003", 0, -1)
        assert json.loads(entry)["msgId"] == "m-later"
        assert await redis.smembers("online:users") == set()
