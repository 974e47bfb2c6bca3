"""One gateway of several processes: to a user they are one, and what dies comes back."""

import json
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from websockets.asyncio.client import connect

from skyeim_ws.contract.pb.friend_pb2 import AddFriendRequestReq
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from tests.ports import free_port
from tests.process.conftest import (
    CONFIG,
    Program,
    children,
    gone,
    hear,
    running,
    skyeim,
    token,
    user,
)
from tests.waiting import until_async
from tests.world import User

DEMO = skyeim("demo", "--port", "0", "--data-dir", "data")
WORKERS = ("process-test-0", "process-test-1")
TLS = Path(__file__).parent.parent / "gateway" / "tls"


@pytest.fixture(autouse=True)
def _two_workers(folder: Path) -> None:
    (folder / "ws.yaml").write_text(CONFIG + "Workers: 2\n")


async def port_of(program: Program) -> int:
    """Wait until all workers listen, and return their port."""
    port: int = (await program.event("workers_listening"))["port"]
    return port


@asynccontextmanager
async def user_on(port: int, user_id: int, worker: str) -> AsyncIterator[User]:
    """Connect a user until it is with this worker; up to the end of the opening frames.

    Only for users for whom nothing waits: a connection that is given up would confirm it.
    """
    url = f"ws://127.0.0.1:{port}/ws?token={token(user_id)}"
    while True:
        connection = await connect(url, compression=None, ping_interval=None)
        try:
            user = User(user_id, connection)
            if (await user.expect("connected"))["server"] == worker:
                yield user
                return
        finally:
            await connection.close()


async def chat_across(one: User, other: User, text: str) -> None:
    """Chat both ways, in private and in the group, up to the confirmation."""
    for sender, receiver in ((one, other), (other, one)):
        sent = await sender.chat(receiver.user_id, text)
        assert (await receiver.expect("chat", content=text))["id"] == sent["id"]
        await sender.expect("ack", msgId=sent["msgId"], status="delivered")
        await sender.send("group_chat", groupId="g_demo", content=text)
        await receiver.expect("group_chat", fromUserId=sender.user_id, content=text)


@pytest.mark.gen_test
async def test_users_of_two_workers_chat_and_all_are_sent_away_at_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(folder / "notify"))
        supervisor.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        async with running(folder, *DEMO) as program:
            port = await port_of(program)
            assert await hear(supervisor) == b"READY=1"
            assert {entry["process"] for entry in program.events("gateway_listening")} == {
                "worker-0",
                "worker-1",
            }
            async with user_on(port, 1001, WORKERS[0]) as alice:
                async with user_on(port, 1002, WORKERS[1]) as bob:
                    await alice.expect("online", userId=1002)
                    await chat_across(alice, bob, "hello")
                    async with user_on(port, 1002, WORKERS[0]) as bob_again:
                        assert await bob.close_code() == 4001
                        await chat_across(alice, bob_again, "moved")
                async with user_on(port, 1002, WORKERS[1]) as bob:
                    pids = children(program.process.pid)
                    assert len(pids) == 4
                    program.process.send_signal(signal.SIGTERM)
                    assert (await alice.close_code(), await bob.close_code()) == (1001, 1001)
            assert await program.exit_code() == 0
            assert (await hear(supervisor)).startswith(b"STOPPING=1\n")
        await gone(*pids)
    stopped = program.events("child_stopped")
    assert [entry["exit_code"] for entry in stopped] == [0, 0, 0, 0]
    # The backends end when nobody needs them any more.
    assert [entry["child"] for entry in stopped][2:] == ["services", "valkey"]


@pytest.mark.gen_test
async def test_users_of_a_killed_worker_come_back_to_the_others_and_miss_nothing(
    folder: Path,
) -> None:
    async with running(folder, *DEMO) as program:
        port = await port_of(program)
        async with user_on(port, 1001, WORKERS[1]) as alice:
            async with user_on(port, 1002, WORKERS[0]) as bob:
                os.kill(await program.child("worker-0"), signal.SIGKILL)
                assert await bob.close_code() == 1006
            texts = [f"m{number}" for number in range(5)]
            for text in texts:
                await alice.chat(1002, text)
            async with user(port, 1002) as bob:
                assert [(await bob.expect("chat"))["content"] for _ in texts] == texts
                await chat_across(alice, bob, "goes on")
            assert await program.child("worker-0", 2)
            async with user_on(port, 1002, WORKERS[0]) as bob:
                await chat_across(alice, bob, "both again")
        died = [(each["child"], each["exit_code"]) for each in program.events("child_died")]
        assert died == [("worker-0", -signal.SIGKILL)]
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0


@pytest.mark.gen_test
async def test_a_worker_that_hangs_is_replaced(folder: Path) -> None:
    async with running(folder, *DEMO, WATCHDOG_USEC="12000000") as program:
        port = await port_of(program)
        async with user_on(port, 1001, WORKERS[1]) as alice:
            pid = await program.child("worker-0")
            os.kill(pid, signal.SIGSTOP)
            hung = await program.event("worker_hangs")
            assert (hung["child"], hung["pid"], hung["seconds"]) == ("worker-0", pid, 6)
            assert await program.child("worker-0", 2) != pid
            async with user_on(port, 1002, WORKERS[0]) as bob:
                await chat_across(alice, bob, "both again")
        died = [(each["child"], each["exit_code"]) for each in program.events("child_died")]
        assert died == [("worker-0", -signal.SIGKILL)]
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0


@pytest.mark.gen_test
async def test_a_killed_parent_leaves_no_process_and_no_ghost(folder: Path) -> None:
    async with running(folder, *DEMO) as program:
        port = await port_of(program)
        async with (
            user_on(port, 1001, WORKERS[0]) as alice,
            user_on(port, 1002, WORKERS[1]),
        ):
            await alice.chat(1003, "for later")
            pids = children(program.process.pid)
            assert len(pids) == 4
            program.process.kill()
            assert await program.exit_code() == -signal.SIGKILL
            await gone(*pids)
    async with running(folder, *skyeim("demo", "--port", str(port))) as program:
        assert await port_of(program) == port
        async with user(port, 1003) as carol:
            assert (await carol.expect("connected"))["onlineCount"] == 1
            await carol.expect("chat", content="for later")
            await carol.send("presence", userIds=[1001, 1002])
            assert (await carol.expect("presence"))["online"] == []


@asynccontextmanager
async def secure_user(port: int, user_id: int, tls: ssl.SSLContext) -> AsyncIterator[User]:
    """Connect a user over TLS."""
    url = f"wss://127.0.0.1:{port}/ws?token={token(user_id)}"
    async with connect(url, compression=None, ping_interval=None, ssl=tls) as connection:
        yield User(user_id, connection)


@pytest.mark.gen_test
async def test_with_tls_events_of_the_services_reach_the_users_of_each_worker(folder: Path) -> None:
    cert, key = TLS / "localhost-cert.pem", TLS / "localhost-key.pem"
    config = (folder / "ws.yaml").read_text() + f"CertFile: {cert}\nKeyFile: {key}\n"
    # Where only our own services may push without a configured secret.
    (folder / "ws.yaml").write_text(config.replace("Mode: test", "Mode: pro"))
    tls = ssl.create_default_context(cafile=cert)
    tls.check_hostname = False
    async with running(folder, *DEMO) as program:
        port = await port_of(program)
        services = f"unix:{folder}/data/run/services.sock"
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(services))
            users = [
                await stack.enter_async_context(secure_user(port, user_id, tls))
                for user_id in range(2001, 2011)
            ]
            homes = {(await user.expect("connected"))["server"] for user in users}
            for user in users:
                request = AddFriendRequestReq(from_user_id=1001, to_user_id=user.user_id)
                await FriendStub(channel).AddFriendRequest(request)
                await user.expect("friend_request")
            assert homes <= set(WORKERS)


@pytest.mark.gen_test
async def test_a_worker_that_cannot_start_fails_the_start_and_leaves_nothing(folder: Path) -> None:
    nowhere = "{Endpoints: ['unix:/nowhere/s']}"
    elsewhere = "".join(f"{name}Rpc: {nowhere}\n" for name in ("Message", "Friend", "Group"))
    # Where the second worker would have its log files there is a file.
    (folder / "logs").mkdir()
    (folder / "logs" / "worker-1").touch()
    configured = (folder / "ws.yaml").read_text().replace("Encoding: json", "Mode: file")
    (folder / "ws.yaml").write_text(f"{configured}Redis: {{Host: /nowhere/r}}\n{elsewhere}")
    async with running(folder, *skyeim("serve")) as program:
        assert await program.exit_code() == 1
    errors = [line for line in program.errors if line.startswith("error:")]
    assert "logs/worker-1" in errors[0]
    assert errors[1:] == ["error: worker-1 ended at its start with exit code 1"]
    written = (folder / "logs" / "access.log").read_text().splitlines()
    started = [json.loads(line) for line in written if "child_started" in line]
    await gone(*(entry["pid"] for entry in started))


@pytest.mark.gen_test
async def test_one_scrape_shows_all_processes_and_no_total_goes_back(folder: Path) -> None:
    port = free_port()
    with (folder / "ws.yaml").open("a") as config:
        config.write(f"DevServer: {{Enabled: true, Port: {port}}}\n")
    async with running(folder, *DEMO) as program:
        users = await port_of(program)

        async def scrape(name: str, wanted: dict[str, float]) -> Samples:
            """Return the first scrape in which the processes show so much of a metric."""

            async def shown() -> Samples:
                found = samples((await fetch(port, "/metrics"))[1])
                return found if processes(found, name) == wanted else {}

            return await until_async(shown)

        async with user_on(users, 1001, WORKERS[0]) as anna, user_on(users, 1002, WORKERS[1]):
            await anna.chat(1002, "hello")
            before = await scrape("skyeim_ws_connections", {"worker-0": 1, "worker-1": 1})
            everyone = dict.fromkeys(("parent", "worker-0", "worker-1", "services"), 1.0)
            assert processes(before, "skyeim_ws_process_up") == everyone
            assert total(before, "skyeim_ws_messages_stored_total") == 1
            assert processes(before, "rpc_server_requests_code_total").keys() == {"services"}
            assert await fetch(port, "/readyz") == (200, "OK")
            pid = await program.child("worker-0")
            os.kill(pid, signal.SIGKILL)
            away = await scrape("skyeim_ws_process_up", everyone | {"worker-0": 0})
            counters = {key for key in before if key[0].endswith(("_total", "_bucket", "_count"))}
            ours = {key for key in counters if not key[0].startswith(("process_", "python_"))}
            assert {key for key in ours if away[key] < before[key]} == set()
        await scrape("skyeim_ws_process_up", everyone)
        async with user_on(users, 1001, WORKERS[0]):
            again = await scrape("skyeim_ws_connections", {"worker-0": 1, "worker-1": 0})
            assert {key for key in ours if again[key] < before[key]} == set()
            opened = "skyeim_ws_connections_opened_total"
            assert processes(again, opened)["worker-0"] > processes(before, opened)["worker-0"]


Samples = dict[tuple[str, str, frozenset[tuple[str, str]]], float]
"""What a scrape shows, by name, process and the other labels."""


def samples(text: str) -> Samples:
    """Read a scrape; no sample comes twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            key = (sample.name, labels.pop("process"), frozenset(labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def processes(found: Samples, name: str) -> dict[str, float]:
    """Return the sum of a metric for each process."""
    sums: dict[str, float] = {}
    for (each, process, _), value in found.items():
        if each == name:
            sums[process] = sums.get(process, 0.0) + value
    return sums


def total(found: Samples, name: str) -> float:
    """Return the sum of a metric."""
    return sum(processes(found, name).values())


async def fetch(port: int, path: str) -> tuple[int, str]:
    """Ask as an operator; return status and body."""
    client = SimpleAsyncHTTPClient(force_instance=True)
    answer = await client.fetch(f"http://127.0.0.1:{port}{path}", raise_error=False)
    client.close()
    return answer.code, answer.body.decode()


def notified(pid: int) -> Path:
    """Return where a process has been told to report."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    [address] = [entry for entry in environment if entry.startswith(b"NOTIFY_SOCKET=")]
    return Path(address.decode().partition("=")[2])


@pytest.mark.gen_test
async def test_workers_report_where_nobody_else_can(folder: Path) -> None:
    """Any process on the machine may write to a name in the abstract namespace."""
    async with running(folder, *DEMO) as program:
        pid = await program.child("worker-0")
        place = notified(pid)
        assert place.is_absolute()
        assert os.stat(place.parent).st_mode & 0o777 == 0o700
