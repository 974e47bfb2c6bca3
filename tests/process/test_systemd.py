"""The program as systemd runs it: it says how it is, and takes the sockets that it is given."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect

from skyeim_ws.process.listening import inherited
from tests.go_services import go_services
from tests.process.conftest import CONFIG, Program, children, running, skyeim, token, user
from tests.process.test_check import acl, configure
from tests.store.servers import Server
from tests.waiting import DEADLINE, until

PASSES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "clients"}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes a program with a socket, as systemd starts one."""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.gen_test
async def test_systemd_hears_ready_once_redis_lets_us_in(
    folder: Path, server: Server, workers: int
) -> None:
    """And no sooner, whatever the reason: here a password that is not the one of the file."""
    async with (
        Redis(unix_socket_path=str(server.socket)) as admin,
        go_services(admin) as (_, address),
    ):
        configure(folder, str(server.socket), address)
        with (folder / "ws.yaml").open("a") as config:
            config.write(f"Workers: {workers}\n")
        await acl(admin, "SETUSER default resetpass >other")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(folder / "notify"))
            listener.setblocking(False)
            place = str(folder / "notify")
            async with running(folder, *skyeim("serve"), NOTIFY_SOCKET=place) as program:
                refused = await program.line("redis_not_usable")
                assert "Authentication required" in refused
                with pytest.raises(BlockingIOError):
                    listener.recv(100)
                await acl(admin, "SETUSER default nopass")
                async with asyncio.timeout(DEADLINE):
                    heard = await asyncio.get_running_loop().sock_recv(listener, 100)
                assert heard == b"READY=1"


@contextmanager
def heard(folder: Path) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.setblocking(False)
        yield listener


@pytest.mark.gen_test
async def test_systemd_hears_ready_once_all_workers_are(folder: Path, server: Server) -> None:
    async with (
        Redis(unix_socket_path=str(server.socket)) as admin,
        go_services(admin) as (_, address),
    ):
        configure(folder, str(server.socket), address)
        with (folder / "ws.yaml").open("a") as config:
            config.write("Workers: 2\n")
        place = str(folder / "notify")
        with heard(folder) as listener:
            async with running(folder, *skyeim("serve"), NOTIFY_SOCKET=place) as program:
                await until(lambda: len(children(program.process.pid)) == 2)
                late = max(children(program.process.pid))
                os.kill(late, signal.SIGSTOP)
                await program.event("child_started")
                with pytest.raises(BlockingIOError):
                    listener.recv(200)
                os.kill(late, signal.SIGCONT)
                async with asyncio.timeout(DEADLINE):
                    said = await asyncio.get_running_loop().sock_recv(listener, 200)
                assert said == b"READY=1"
                await program.event("child_started", 2)
                assert {*children(program.process.pid)} == {
                    entry["pid"] for entry in program.events("child_started")
                }


@pytest.mark.gen_test
async def test_systemd_hears_how_it_goes_and_how_long_a_stop_may_take(folder: Path) -> None:
    hear = asyncio.get_running_loop().sock_recv
    place = str(folder / "notify")
    with heard(folder) as listener:
        async with running(
            folder, *skyeim("demo", "--port", "0"), NOTIFY_SOCKET=place, WATCHDOG_USEC="200000"
        ) as program:
            async with asyncio.timeout(DEADLINE):
                assert await hear(listener, 200) == b"READY=1"
                async with user(await program.port(), 1001):
                    while not (said := await hear(listener, 200)).startswith(
                        b"WATCHDOG=1\nSTATUS=1 connections; per second "
                    ):
                        assert b"STATUS=0 connections" in said
                    program.process.send_signal(signal.SIGTERM)
                    while (said := await hear(listener, 200)).startswith(b"WATCHDOG=1\nSTATUS=1 "):
                        pass
                # 0.2 s and 2 s for the clients, 5 s for the rest of a worker, 6 s for each child.
                assert said == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=19200000"
            assert await program.exit_code() == 0


@pytest.mark.gen_test
async def test_systemd_hears_of_the_services(folder: Path) -> None:
    place = str(folder / "notify")
    with heard(folder) as listener:
        async with running(
            folder, *skyeim("services"), NOTIFY_SOCKET=place, WATCHDOG_USEC="200000"
        ) as program:
            said = []
            async with asyncio.timeout(DEADLINE):
                for _ in range(3):
                    said.append(await asyncio.get_running_loop().sock_recv(listener, 200))
                program.process.send_signal(signal.SIGTERM)
                while not said[-1].startswith(b"STOPPING=1\nEXTEND_TIMEOUT_USEC="):
                    said.append(await asyncio.get_running_loop().sock_recv(listener, 200))
            assert said[:3] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            assert await program.exit_code() == 0


@asynccontextmanager
async def activated(folder: Path, listening: socket.socket) -> AsyncIterator[Program]:
    """Run the demo on a socket that outlives it."""
    command = (sys.executable, "-c", PASSES, str(listening.fileno()), *skyeim("demo"))
    async with running(folder, *command, pass_fds=[listening.fileno()]) as program:
        yield program


async def knock(port: int, user_id: int, seen: list[str], stop: asyncio.Event) -> None:
    """Log in again and again; note who answers, or what went wrong."""
    while not stop.is_set():
        try:
            url = f"ws://127.0.0.1:{port}/ws?token={token(user_id)}"
            async with asyncio.timeout(DEADLINE):
                async with connect(url, ping_interval=None, open_timeout=None) as connection:
                    await connection.recv()
            seen.append("connected")
        except Exception as error:
            sent_away = connect_ended_with(error, 1001)
            seen.append("sent away" if sent_away else repr(error))


def connect_ended_with(error: Exception, code: int) -> bool:
    """Tell whether a connection was closed with this code."""
    received = getattr(error, "rcvd", None)
    return received is not None and received.code == code


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.gen_test
async def test_a_restart_on_an_inherited_socket_refuses_nobody(folder: Path, workers: int) -> None:
    (folder / "ws.yaml").write_text(CONFIG + f"Workers: {workers}\nWebSocket: {{LoginBurst: 0}}\n")
    event = "gateway_listening" if workers == 1 else "workers_listening"
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:
        port = listening.getsockname()[1]
        seen: list[str] = []
        stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            program = await stack.enter_async_context(activated(folder, listening))
            assert (await program.event(event))["port"] == port
            knocking = [
                asyncio.create_task(knock(port, each, seen, stop)) for each in range(6001, 6005)
            ]
            await until(lambda: len(seen) >= 20)
            program.process.send_signal(signal.SIGTERM)
            assert await program.exit_code() == 0
            # Nobody serves now, and they wait.
            before = len(seen)
            program = await stack.enter_async_context(activated(folder, listening))
            await program.event(event)
            await until(lambda: len(seen) >= before + 20)
            stop.set()
            await asyncio.gather(*knocking)
            program.process.send_signal(signal.SIGTERM)
            assert await program.exit_code() == 0
    assert set(seen) <= {"connected", "sent away"}
    # Only who came between the signal and the last look at the backlog.
    assert seen.count("sent away") < len(seen) / 4


@pytest.mark.gen_test
async def test_a_socket_that_does_not_listen_fails_the_start(folder: Path) -> None:
    with socket.socket() as unbound:
        async with activated(folder, unbound) as program:
            assert await program.exit_code() == 1
    assert "error: the inherited socket 3 does not listen for TCP" in program.errors


def test_sockets_for_another_process_are_not_taken_and_children_hear_of_none() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "clients", "A": "b"}
    assert inherited(AsyncExitStack(), environment) == []
    assert environment == {"A": "b"}
    assert inherited(AsyncExitStack(), {"LISTEN_PID": str(os.getpid())}) == []
