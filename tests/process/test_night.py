"""The tickets of docs/night.md, each with its fault made by real processes.

Then only what an operator has is asked, logs, metrics and admin commands, and the cause has to be
found by its name.
"""

import asyncio
import contextlib
import io
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from skyeim_ws.cli import main as cli
from skyeim_ws.cli.admin.commands import execute
from skyeim_ws.config.check import load
from tests.ports import free_port
from tests.process.conftest import Program, running, skyeim, token, user
from tests.store.servers import Server
from tests.waiting import until, until_async
from tests.world import PUSH_SECRET, SECRET

SLOW = 0.4
"""Seconds after which the log tells of something; more than a busy machine needs."""

PAGE = (Path(__file__).resolve().parents[2] / "docs/night.md").read_text()

COMMANDS: list[str] = re.findall(r"^```sh\n(.+)\n```$", PAGE, re.MULTILINE)


@dataclass
class Night:
    """Two gateways and the services, each a process, and the operator's file for them."""

    folder: Path
    server: Server
    gateways: list[Program]
    ports: list[int]
    operators: list[int]
    services: Program

    def redis(self) -> Redis:
        """Return a client of the Redis, with which faults are made."""
        return Redis(unix_socket_path=str(self.server.socket))

    async def ask(self, *words: str) -> dict[str, Any]:
        """Return what an admin command says; without a process, which takes a second to start."""
        words = (
            *(() if words[0] == "trace" else ("admin",)),
            *words,
            "--json",
            "-f",
            str(self.folder / "ws.yaml"),
        )
        arguments = cli.make_parser().parse_args(words)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert await execute(load(arguments.file, env=True).config, arguments) == 0
        answer: dict[str, Any] = json.loads(out.getvalue())
        return answer

    async def run(self, *words: str, code: int = 0) -> str:
        """Return all that a command says on either stream, run in some other folder."""
        file, secrets = self.folder / "ws.yaml", self.folder / "secrets.env"
        command = (sys.executable, "-m", "skyeim_ws", *words, "-f", str(file))
        async with running(Path("/"), *command, "--env-file", str(secrets)) as program:
            ended = await program.exit_code()
        said = "\n".join(program.lines + program.errors)
        assert ended == code, said
        return said

    async def metric(self, name: str) -> list[float]:
        """Return what each gateway says of a metric."""
        found = []
        for port in self.operators:
            client = SimpleAsyncHTTPClient(force_instance=True)
            answer = await client.fetch(f"http://127.0.0.1:{port}/metrics")
            client.close()
            line = re.search(rf"^{name}{{[^}}]*}} (\S+)$", answer.body.decode(), re.MULTILINE)
            assert line is not None, name
            found.append(float(line[1]))
        return found

    def journal(self, word: str) -> str:
        """Return what the one command of the page with this word makes of all logs."""
        [command] = [each for each in COMMANDS if each.startswith("journalctl") and word in each]
        log = self.folder / "journal"
        programs = [*self.gateways, self.services]
        log.write_text("\n".join(line for each in programs for line in each.lines + each.errors))
        stub = f"journalctl() {{ cat {log}; }}\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", stub + command], capture_output=True, check=True
        )
        return done.stdout.decode()

    async def finding(self, name: str, *words: str) -> dict[str, Any]:
        """Ask until the answer has the finding; return the answer."""
        answer: dict[str, Any] = {}

        async def found() -> bool:
            answer.update(await self.ask(*words))
            return name in names(answer)

        await until_async(found)
        return answer


def names(answer: dict[str, Any]) -> list[str]:
    """Return the names of the findings of an answer."""
    return [each["name"] for each in answer["findings"]]


@asynccontextmanager
async def night(folder: Path, server: Server) -> AsyncIterator[Night]:
    """Run it all; 1001 and 1002 are friends."""
    services_port, ports = free_port(), [free_port(), free_port()]
    rpc = f"{{Endpoints: ['127.0.0.1:{services_port}'], Timeout: 5000}}"
    operators = {port: free_port() for port in (services_port, *ports)}
    (folder / "secrets.env").write_text(f'NIGHT_SECRET="{SECRET}"\n')

    def text(name: str, port: int) -> str:
        return f"""
Name: {name}
Host: 127.0.0.1
Port: {port}
Mode: test
Auth: {{AccessSecret: "${{NIGHT_SECRET}}"}}
Redis: {{Host: {server.socket}}}
MessageRpc: {rpc}
FriendRpc: {rpc}
GroupRpc: {rpc}
PushEvent: {{Secret: "{PUSH_SECRET}"}}
DevServer: {{Enabled: true, Port: {operators[port]}}}
Database: {{DataSource: {folder}/im.db}}
Shutdown: {{WrapUpTime: 200ms, WaitTime: 2s}}
Log: {{SlowThreshold: {SLOW}}}
Trace: {{Users: [1002]}}
"""

    async with AsyncExitStack() as stack:

        async def start(command: str, name: str, port: int) -> Program:
            file = folder / name
            file.mkdir()
            for written in (file, folder):
                (written / "ws.yaml").write_text(text(name, port))
            words = (*skyeim(command), "--env-file", str(folder / "secrets.env"))
            return await stack.enter_async_context(running(file, *words))

        services = await start("services", "services", ports[0])
        gateways = [await start("serve", f"ws-{i}", port) for i, port in enumerate(ports, 1)]
        for gateway in gateways:
            await gateway.port()
        here = Night(folder, server, gateways, ports, [operators[each] for each in ports], services)

        async def ready() -> bool:
            nodes = (await here.ask("node", "list"))["nodes"]
            return [node["state"] for node in nodes] == ["ready", "ready"]

        await until_async(ready)
        await here.ask("friend", "add", "1001", "1002")
        yield here


async def my_message_did_not_arrive(here: Night) -> None:
    """My message did not arrive."""
    # The phone of the receiver is frozen: its connection stands, and nobody is behind it.
    async with user(here.ports[0], 1001) as alice:
        async with user(here.ports[1], 1002) as bob:
            await bob.expect("connected")
            bob.connection.transport.pause_reading()
            await alice.chat(1002, "hello", msgId="m-lost")
            answer = await here.finding("client_does_not_answer", "trace", "m-lost")
            assert names(answer) == ["not_confirmed", "online", "client_does_not_answer"]
            await here.ask("user", "disconnect", "1002")
            bob.connection.transport.resume_reading()
            assert await bob.close_code() == 1001
        answer = await here.finding("queued", "trace", "m-lost")
        assert names(answer) == ["queued", "offline", "waits_in_queue"]
        # 1002 is among the users whose messages are traced: what has happened since is there.
        steps: list[tuple[str, str]] = []

        async def complete() -> bool:
            lines = (await here.ask("trace", "m-lost"))["trace"]
            steps[:] = [(line["node"][:4], line["step"]) for line in lines]
            return ("ws-2", "unconfirmed") in steps and ("ws-1", "sent") in steps

        await until_async(complete)
        first = ["accepted", "stored", "to_queue"]
        assert [step for node, step in steps if node == "ws-1"][:3] == first
        there = [step for node, step in steps if node == "ws-2"]
        assert there == ["told", "written", "unconfirmed"]
        async with user(here.ports[0], 1002) as bob:
            await bob.expect("chat", msgId="m-lost")
            await alice.expect("ack", msgId="m-lost", status="delivered")
    refused = await here.run("trace", "m-never", code=1)
    assert "no message with this msgId is stored" in refused


async def he_is_kicked_all_the_time(here: Night) -> None:
    """He is kicked all the time."""

    # Two devices of one person come back each time, against the rule of the protocol.
    async def device(name: str, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/ws?token={token(1002)}&device={name}"
        while True:
            async with connect(url, ping_interval=None) as connection:
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await connection.recv()

    names = ("phone", "tablet")
    devices = [
        asyncio.create_task(device(name, port))
        for name, port in zip(names, here.ports, strict=True)
    ]
    for gateway, name in zip(here.gateways, names, strict=True):
        ended = await gateway.event("connection_closed", 2, user=1002, code=4001)
        assert (ended["by"], ended["device"]) == ("gateway", name)
        assert ended["reason"] == "a newer login took this place"
        assert ended["new_remote"] == "127.0.0.1"
    assert here.journal("connection_closed").count('"code": 4001') >= 4
    assert min(await here.metric("skyeim_ws_kicked_total")) >= 2
    for each in devices:
        each.cancel()
    await asyncio.gather(*devices, return_exceptions=True)


async def slow_since_two_o_clock(here: Night) -> None:
    """Slow since 14:00."""
    # Somebody has left a transaction open in the database.
    with sqlite3.connect(here.folder / "im.db", isolation_level=None) as database:
        async with user(here.ports[0], 1001) as alice:
            await alice.expect("connected")
            database.execute("BEGIN IMMEDIATE")
            await alice.send("chat", toUserId=1002, content="hello", msgId="m-slow")
            began = asyncio.get_running_loop().time()

            async def held_up() -> bool:
                shown = await here.ask("node", "show", "ws-1")
                enough = asyncio.get_running_loop().time() - began > 2 * SLOW
                return bool(shown["gauges"]["sends_under_way"]) and enough

            await until_async(held_up)
            database.execute("ROLLBACK")
            await alice.expect("ack", msgId="m-slow", status="sent")
    database.close()
    # Of all that is measured, the call of the service and what waits for it alone.
    await here.gateways[0].event("slow_rpc", level="slow", callee="message", method="SendBatch")
    await here.services.until(
        lambda: any('"slow_call"' in each and "SendBatch" in each for each in here.services.errors)
    )
    counted = here.journal("slow")
    for name in ("slow_rpc", "slow_call"):
        assert f'"content": "{name}"' in counted


async def the_online_count_is_wrong(here: Night) -> None:
    """The online count is wrong."""
    # Redis has lost a write, and another program has made one of its own.
    async with user(here.ports[0], 1001) as alice, here.redis() as redis:
        await alice.expect("connected")
        await here.finding("online", "user", "show", "1001")
        await redis.sadd("online:users", 1002, 7)
        answer = {}

        async def forgotten() -> bool:
            # The login enters the user twice.
            await redis.srem("online:users", 1001)
            answer.update(await here.ask("presence", "check"))
            return bool(answer["shown_offline_wrongly"] == [1001])

        await until_async(forgotten)
        assert answer["shown_online_without_session"] == [7, 1002]
        assert (answer["shownOnline"], answer["connected"]) == (2, 1)
        answer = await here.ask("user", "show", "1002")
        assert "shown_online_wrongly" in names(answer)
        assert (await here.ask("presence", "repair"))["asked"] == 2

        async def right() -> bool:
            answer = await here.ask("presence", "check")
            return (answer["shownOnline"], answer["shown_offline_wrongly"]) == (1, [])

        await until_async(right)
        await until(lambda: sum(len(each.events("orphans_removed")) for each in here.gateways))


async def nothing_works_after_the_redis_failover(here: Night) -> None:
    """Nothing works after the Redis failover."""
    # The address leads to what is a replica now, which takes no writes.
    async with here.redis() as redis:
        await redis.replicaof("127.0.0.1", "1")
        for gateway in here.gateways:
            await gateway.event("redis_lost")

        async def unhealthy() -> bool:
            # They ask again and again, and the server answers, until there is something to write.
            return 0 in await here.metric("skyeim_ws_redis_healthy")

        await until_async(unhealthy)
        said = await here.run("check", "--connect", code=1)
        assert "Redis: refuses SREM online:users: " in said
        assert "read only replica" in said
        await redis.replicaof("NO", "ONE")
        for gateway in here.gateways:
            await gateway.event("redis_recovered")
        assert "Redis: answers" in await here.run("check", "--connect")


TICKETS = (
    my_message_did_not_arrive,
    he_is_kicked_all_the_time,
    slow_since_two_o_clock,
    the_online_count_is_wrong,
    nothing_works_after_the_redis_failover,
)


@pytest.mark.gen_test
async def test_the_cause_of_each_ticket_is_found_by_its_name(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One after the other, in one deployment: to start it takes longer than a ticket.
    monkeypatch.setenv("NIGHT_SECRET", SECRET)
    async with night(folder, server) as here:
        for ticket in TICKETS:
            await ticket(here)


def test_the_page_has_the_tickets_that_are_replayed() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert headings == [str(ticket.__doc__).removesuffix(".") for ticket in TICKETS]


def test_the_commands_of_the_page_are_those_of_the_program() -> None:
    ours = [shlex.split(each)[1:] for each in COMMANDS if each.startswith("skyeim-ws ")]
    assert len(ours) == 3
    for words in ours:
        assert cli.make_parser().parse_args(words)
