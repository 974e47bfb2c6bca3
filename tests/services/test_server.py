"""The server process starts, serves, stops and dies without losing what it has answered."""

import asyncio
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from skyeim_ws.contract.pb import friend_pb2, group_pb2
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from skyeim_ws.contract.pb.group_pb2_grpc import GroupStub
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.contract.timing import Timings
from skyeim_ws.services.db import open_database
from skyeim_ws.services.events import Events
from skyeim_ws.services.server import ListenError, serve_services
from tests.services.conftest import (
    Services,
    make_group,
    refusal,
)
from tests.services.test_message import grouped
from tests.waiting import DEADLINE


@asynccontextmanager
async def process(*arguments: str, **environment: str) -> AsyncIterator[Process]:
    """Run the server program; killed on leaving, if it still runs."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "skyeim_ws.services.server",
        *arguments,
        env=os.environ | environment,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        # Also closes the pipes.
        await child.communicate()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """Connect to a server that may still be starting."""
    async with grpc.aio.insecure_channel(address) as channel:
        await HealthStub(channel).Check(
            HealthCheckRequest(service=""), wait_for_ready=True, timeout=DEADLINE
        )
        yield channel


async def next_status(watch: Any) -> int:
    """Read one answer of a watch, then end it: a server that stops waits for its calls."""
    status: int = (await watch.read()).status
    watch.cancel()
    return status


@pytest.mark.gen_test
async def test_health_answers_for_each_service_and_turns_when_the_server_stops(
    tmp_path: Path,
) -> None:
    database = await open_database(str(tmp_path / "im.db"))
    events = Events(database)
    address = f"unix:{tmp_path / 's.sock'}"
    async with grpc.aio.insecure_channel(address) as channel:
        health = HealthStub(channel)
        async with serve_services(database, events, [address], grace=DEADLINE):
            for name in ("", "message.Message", "friend.Friend", "group.Group"):
                status = (await health.Check(HealthCheckRequest(service=name))).status
                assert status == HealthCheckResponse.SERVING
            unknown = await refusal(health.Check(HealthCheckRequest(service="other.Other")))
            assert unknown == (grpc.StatusCode.NOT_FOUND, "")
            watch = health.Watch(HealthCheckRequest(), timeout=DEADLINE)
            assert (await watch.read()).status == HealthCheckResponse.SERVING
            turned = asyncio.ensure_future(next_status(watch))
        assert await turned == HealthCheckResponse.NOT_SERVING
    await events.close()
    await database.close()


@pytest.mark.gen_test
async def test_one_server_listens_on_several_addresses(tmp_path: Path) -> None:
    database = await open_database(str(tmp_path / "im.db"))
    events = Events(database)
    addresses = ["127.0.0.1:0", f"unix:{tmp_path / 's.sock'}"]
    async with serve_services(database, events, addresses, grace=0) as bound:
        assert bound[0] != addresses[0]
        assert bound[1] == addresses[1]
        for address in bound:
            async with connected(address) as channel:
                count = await MessageStub(channel).GetUnreadCount(pb.GetUnreadCountReq(user_id=1))
                assert count.count == 0
        with pytest.raises(ListenError):
            async with serve_services(database, events, [bound[0]], grace=0):
                pass
    await events.close()
    await database.close()


@pytest.mark.gen_test
async def test_a_lost_database_is_unavailable_and_logged_once_until_it_is_back(
    services: Services, tmp_path: Path
) -> None:
    ask = services.message.GetUnreadCount
    with capture_logs() as logs, closing(sqlite3.connect(tmp_path / "im.db")) as raw:
        raw.execute("ALTER TABLE im_message RENAME TO elsewhere")
        for _ in range(2):
            lost = await refusal(ask(pb.GetUnreadCountReq(user_id=1)))
            assert lost == (grpc.StatusCode.UNAVAILABLE, "")
        raw.execute("ALTER TABLE elsewhere RENAME TO im_message")
        assert (await ask(pb.GetUnreadCountReq(user_id=1))).count == 0
    assert [entry["event"] for entry in logs] == ["database_lost", "database_recovered"]
    assert logs[0]["method"] == "/message.Message/GetUnreadCount"


@pytest.mark.gen_test
async def test_a_slow_call_is_logged(tmp_path: Path) -> None:
    database = await open_database(str(tmp_path / "im.db"))
    events = Events(database)
    address = f"unix:{tmp_path / 's.sock'}"
    try:
        async with (
            serve_services(database, events, [address], timings=Timings(1e-6)),
            connected(address) as channel,
        ):
            with capture_logs() as logs:
                await MessageStub(channel).GetUnreadCount(pb.GetUnreadCountReq(user_id=1))
    finally:
        await events.close()
        await database.close()
    [line] = logs
    assert (line["event"], line["method"]) == ("slow_call", "/message.Message/GetUnreadCount")
    assert line["duration"].endswith("ms")


@pytest.mark.gen_test
async def test_an_unexpected_error_is_internal_and_says_nothing_to_the_caller(
    services: Services,
) -> None:
    await services.database.close()
    with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as caught:
        # The threads are gone: nothing that a caller could do about it.
        await services.message.GetUnreadCount(pb.GetUnreadCountReq(user_id=1))
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error"
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("rpc_failed", "error")]


@pytest.mark.gen_test
async def test_the_program_serves_the_demo_and_stops_on_sigterm(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 's.sock'}"
    arguments = ("--data-source-env", "SOURCE", "--listen", address, "--demo")
    async with process(*arguments, SOURCE=str(tmp_path / "im.db")) as child:
        async with connected(address) as channel:
            friends = await FriendStub(channel).GetFriendList(
                friend_pb2.GetFriendListReq(user_id=1001)
            )
            assert friends.total == 2
            joined = await GroupStub(channel).GetJoinedGroups(
                group_pb2.GetJoinedGroupsReq(user_id=1001)
            )
            assert [each.group_id for each in joined.list] == ["g_demo"]
        assert (tmp_path / "im.db").stat().st_mode & 0o077 == 0
        assert (tmp_path / "s.sock").stat().st_mode & 0o077 == 0
        child.send_signal(signal.SIGTERM)
        stdout, stderr = await asyncio.wait_for(child.communicate(), DEADLINE)
    assert child.returncode == 0
    assert stdout == b""
    lines = stderr.decode().splitlines()
    assert sum('"services_listening"' in line for line in lines) == 1
    assert all(line.startswith("{") for line in lines)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data-source", "im:hidden@tcp(x)/im"], 1, "Database.DataSource: the address must be"),
        (
            ["--data-source", "im:hidden@tcp(127.0.0.1:1)/im"],
            1,
            "the database mysql+asyncmy://im:*",
        ),
        (["--data-source", "/nowhere/im.db"], 1, "the database /nowhere/im.db: unable to open"),
        (["--data-source-env", "NOT_SET"], 2, "NOT_SET is not set"),
        ([], 2, "--data-source"),
    ],
)
async def test_the_program_says_why_it_does_not_start(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    async with process(*arguments, "--listen", f"unix:{tmp_path / 's.sock'}") as child:
        _, stderr = await asyncio.wait_for(child.communicate(), DEADLINE)
    assert child.returncode == code
    assert said in stderr.decode()
    assert "hidden" not in stderr.decode()
    assert "Traceback" not in stderr.decode()


@pytest.mark.gen_test
async def test_the_log_is_as_plain_and_as_quiet_as_it_is_told(tmp_path: Path) -> None:
    arguments = ("--data-source", str(tmp_path / "none" / "im.db"), "--listen", "127.0.0.1:0")
    said = []
    for level in ("error", "severe"):
        async with process(*arguments, "--log-encoding", "plain", "--log-level", level) as child:
            _, stderr = await asyncio.wait_for(child.communicate(), DEADLINE)
        assert child.returncode == 1
        said.append(stderr.decode())
    assert "[error    ] services_failed error=" in said[0]
    assert said[1] == ""


@pytest.mark.gen_test
async def test_what_was_answered_survives_kill_9_and_seq_has_no_gaps(tmp_path: Path) -> None:
    """Senders keep a stream of calls going while the process is killed, then retry all."""
    address, source = f"unix:{tmp_path / 's.sock'}", str(tmp_path / "im.db")
    database = await open_database(source)
    await make_group(database, "g", 1)
    await database.close()
    answered: dict[str, pb.SendGroupMessageResp] = {}
    attempted: list[str] = []
    enough = asyncio.Event()

    async def send_until_it_dies(stub: MessageStub, sender: int) -> None:
        for number in range(100_000):
            msg_id = f"{sender}-{number}"
            attempted.append(msg_id)
            try:
                answered[msg_id] = await stub.SendGroupMessage(grouped(msg_id))  # type: ignore[misc]
            except grpc.aio.AioRpcError:
                return
            if len(answered) >= 60:
                enough.set()

    arguments = ("--data-source", source, "--listen", address)
    async with process(*arguments) as child, connected(address) as channel:
        stub = MessageStub(channel)
        senders = [asyncio.ensure_future(send_until_it_dies(stub, n)) for n in range(8)]
        await asyncio.wait_for(enough.wait(), DEADLINE)
        child.kill()
        await asyncio.gather(*senders)
    async with process(*arguments), connected(address) as channel:
        stub = MessageStub(channel)
        for msg_id in attempted:
            again = await stub.SendGroupMessage(grouped(msg_id))
            assert answered.setdefault(msg_id, again) == again
    assert sorted(each.seq for each in answered.values()) == list(range(1, len(answered) + 1))
    by_id = sorted(answered.values(), key=lambda each: each.id)
    assert [each.seq for each in by_id] == list(range(1, len(answered) + 1))


@pytest.mark.gen_test
async def test_a_server_waits_for_the_next_call_once_and_not_for_each_method(
    services: Services,
) -> None:
    """What grpcio does at each call grows with the tasks that wait for one."""
    waiting = [task for task in asyncio.all_tasks() if "_request_registered_call" in repr(task)]
    assert waiting == []
