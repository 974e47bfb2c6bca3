"""The other commands as processes: serve, services, token, and how they end."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from skyeim_ws.handler import tokens
from tests.ports import free_port
from tests.process.conftest import (
    CONFIG,
    Program,
    children,
    get,
    gone,
    offline,
    running,
    skyeim,
    user,
)
from tests.process.test_workers import fetch
from tests.world import SECRET


@pytest.mark.gen_test
async def test_serve_is_a_gateway_whose_services_log_as_it_does(folder: Path) -> None:
    """Everything on stdout and stderr is one line of JSON, of whichever process."""
    async with running(folder, *skyeim("serve")) as program:
        port = await program.port()
        async with user(port, 1001) as alice:
            await offline(alice)
            await alice.send("chat", toUserId=1002, content="hello", msgId="m")
            refusal = await alice.expect("ack", msgId="m")
            # No users were made: this is not the demo.
            assert (refusal["status"], refusal["reason"]) == ("failed", "not_friend")
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0
    assert all(line.startswith("{") for line in program.lines + program.errors)
    assert any('"services_listening"' in line for line in program.errors)
    assert (folder / "data" / "valkey.log").exists()


@pytest.mark.gen_test
async def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    """The first one waits here for a client that will not go."""
    patient = "WebSocket: {CloseTimeout: 50s}\n"
    config = CONFIG.replace("WaitTime: 2s", "WaitTime: 50s") + patient
    (folder / "ws.yaml").write_text(config.replace("json}", "json, Level: debug}"))
    async with running(folder, *skyeim("serve")) as program:
        port = await program.port()
        async with user(port, 1001) as alice:
            await offline(alice)
            pids = children(program.process.pid)
            alice.connection.transport.pause_reading()
            program.process.send_signal(signal.SIGTERM)
            await program.event("connection_state", new="DRAINING")
            program.process.send_signal(signal.SIGINT)
            assert await program.exit_code() == 130
            alice.connection.transport.resume_reading()
        await gone(*pids)
        assert program.events("stopped_at_once")
        assert not [line for line in program.errors if "Traceback" in line]


@pytest.mark.gen_test
async def test_services_run_apart_from_the_gateway_that_is_told_where(folder: Path) -> None:
    rpc = f"{{Endpoints: ['unix:{folder}/services.sock']}}"
    apart = "".join(f"{name}Rpc: {rpc}\n" for name in ("Message", "Friend", "Group"))
    operators = free_port()
    shown = f"Services: {{Prometheus: {{Host: 127.0.0.1, Port: {operators}, Path: /numbers}}}}\n"
    (folder / "ws.yaml").write_text(CONFIG + apart + shown)
    async with (
        running(folder, *skyeim("services")) as services,
        running(folder, *skyeim("serve")) as gateway,
    ):
        await until_listening(services)
        port = await gateway.port()
        async with user(port, 1001) as alice:
            await offline(alice)
        assert await get(port, "/message/offline", 1001) == []
        status, text = await fetch(operators, "/numbers")
        method = 'method="/message.Message/'
        assert status == 200
        assert f'rpc_server_requests_code_total{{code="0",{method}' in text
        assert f'rpc_server_requests_duration_ms_bucket{{le="5000",{method}' in text
        assert 'skyeim_ws_log_lines_dropped_total{process="services"} 0.0' in text
        assert 'skyeim_ws_loop_lag_seconds_count{process="services"} ' in text
        assert len(children(gateway.process.pid)) == 1  # Redis alone
        for program in (gateway, services):
            program.process.send_signal(signal.SIGTERM)
            assert await program.exit_code() == 0


@pytest.mark.gen_test
async def test_services_hold_the_data_folder_that_nobody_else_may_then_use(folder: Path) -> None:
    async with running(folder, *skyeim("services")) as services:
        await until_listening(services)
        async with running(folder, *skyeim("serve")) as gateway:
            assert await gateway.exit_code() == 1
        assert gateway.errors == ["error: the data folder data is in use by another process"]
        services.process.send_signal(signal.SIGINT)
        assert await services.exit_code() == 0


@pytest.mark.gen_test
async def test_a_log_that_cannot_be_written_is_said_in_one_line(folder: Path) -> None:
    (folder / "taken").touch()
    (folder / "ws.yaml").write_text(
        CONFIG.replace("{Encoding", "{Mode: file, Path: taken, Encoding")
    )
    async with running(folder, *skyeim("serve")) as program:
        assert await program.exit_code() == 1
    said = "error: cannot write the log (Log.Path): taken: File exists"
    assert [line for line in program.errors if "start_failed" not in line] == [said]


async def until_listening(services: Program) -> None:
    await services.until(lambda: any("services_listening" in line for line in services.errors))


@pytest.mark.gen_test
async def test_a_port_for_operators_that_is_in_use_is_named(folder: Path) -> None:
    nowhere = "{Endpoints: ['unix:/nowhere/s']}"
    configured = f"Redis: {{Host: /nowhere/r}}\nMessageRpc: {nowhere}\nFriendRpc: {nowhere}\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        dev = f"GroupRpc: {nowhere}\nDevServer: {{Enabled: true, Port: {port}}}\n"
        (folder / "ws.yaml").write_text(CONFIG + configured + dev)
        async with running(folder, *skyeim("serve")) as program:
            assert await program.exit_code() == 1
    said = f"error: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert program.errors == [said]


@pytest.mark.gen_test
async def test_token_is_a_line_that_the_gateway_takes(folder: Path) -> None:
    installed = (str(Path(sys.executable).parent / "skyeim-ws"), "token", "-f", "ws.yaml")
    async with running(folder, *installed, "--user", "1002") as program:
        assert await program.exit_code() == 0
    (printed,) = program.lines
    assert tokens.verify(printed, [SECRET]).user_id == 1002
    assert program.errors == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.gen_test
async def test_a_signal_during_the_start_gives_it_up(folder: Path, workers: int) -> None:
    (folder / "ws.yaml").write_text(CONFIG + f"Workers: {workers}\n")
    async with running(folder, *skyeim("serve")) as program:
        await program.child("valkey")
        pids = children(program.process.pid)
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0
        await gone(*pids)
    assert program.events("start_given_up")
    assert not program.events("child_started", child="services")
    assert not [line for line in program.errors if "Traceback" in line]
