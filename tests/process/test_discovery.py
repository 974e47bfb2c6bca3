"""Gateway and services that know of each other through etcd alone."""

import signal
import sys
from pathlib import Path

import grpc
import pytest
from redis.asyncio import Redis

from skyeim_ws.contract.pb.friend_pb2 import (
    AddFriendRequestReq,
    HandleFriendRequestReq,
    IsFriendReq,
)
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from tests.discovery.etcd_server import PASSWORD, Etcd, needs_etcd, running_etcd
from tests.go_services import go_services
from tests.ports import free_port
from tests.process.conftest import CONFIG, Program, running, skyeim, user
from tests.store.servers import Server

pytestmark = needs_etcd

GO_FILE = Path(__file__).parents[1] / "data" / "go_gateway.yaml"


def section(name: str, etcd: Etcd, more: str = "") -> str:
    login = f"User: chat, Pass: {PASSWORD}"
    return f"Etcd: {{Hosts: ['{etcd.address}'], Key: chat/{name}, {login}}}{more}"


def services_file(folder: Path, etcd: Etcd) -> str:
    """Write the configuration of services on a free port, which they announce."""
    port = free_port()
    listen = f", Endpoints: ['0.0.0.0:{port}']"
    sections = "".join(
        f"{name}Rpc: {{{section(f'{name.lower()}.rpc', etcd, listen)}}}\n"
        for name in ("Message", "Friend", "Group")
    )
    file = folder / f"services-{port}.yaml"
    file.write_text(f"{CONFIG}{sections}AdvertiseHost: 127.0.0.1\n")
    return str(file)


def services(file: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "skyeim_ws", "services", "-f", file)


async def announced(program: Program, count: int = 3) -> None:
    await program.until(
        lambda: len([line for line in program.errors if "address_announced" in line]) >= count
    )


@pytest.mark.gen_test
async def test_a_gateway_finds_services_and_both_are_found_by_others(folder: Path) -> None:
    async with running_etcd() as etcd:
        await etcd.lock("chat", "chat/")
        found_by_etcd = "".join(
            f"{name}Rpc: {{{section(f'{name.lower()}.rpc', etcd)}}}\n"
            for name in ("Message", "Friend", "Group")
        )
        (folder / "ws.yaml").write_text(f"{CONFIG}{found_by_etcd}{section('ws.api', etcd)}\n")
        async with (
            # Before there is any service: it is not ready, and goes on trying.
            running(folder, *skyeim("serve")) as gateway,
            running(folder, *services(services_file(folder, etcd))) as first,
        ):
            port = await gateway.port()
            assert (await gateway.event("address_announced"))["address"] == f"127.0.0.1:{port}"
            await announced(first)

            # As a client of go-zero does it.
            (address,) = (await etcd.keys("chat/friend.rpc/")).values()
            async with grpc.aio.insecure_channel(address) as channel:
                friends = FriendStub(channel)
                asked = await friends.AddFriendRequest(
                    AddFriendRequestReq(from_user_id=1001, to_user_id=1002)
                )
                await friends.HandleFriendRequest(
                    HandleFriendRequestReq(user_id=1002, request_id=asked.request_id, action=1)
                )
                status = await friends.IsFriend(IsFriendReq(user_id=1001, friend_id=1002))
                assert status.is_friend
            assert list((await etcd.keys("chat/ws.api/")).values()) == [f"127.0.0.1:{port}"]

            async with user(port, 1001) as alice, user(port, 1002) as bob:
                sent = await alice.chat(1002, "the first ones")
                assert (await bob.expect("chat"))["id"] == sent["id"]
                async with running(folder, *services(services_file(folder, etcd))) as second:
                    await announced(second)
                    first.process.send_signal(signal.SIGTERM)
                    for number in range(50):
                        sent = await alice.chat(1002, f"while they change {number}")
                        assert (await bob.expect("chat"))["id"] == sent["id"]
                    assert await first.exit_code() == 0
                    assert len(await etcd.keys("chat/message.rpc/")) == 1
                    await alice.chat(1002, "the second ones")
                    async with running(folder, *skyeim("admin", "friend", "list", "1001")) as admin:
                        assert await admin.exit_code() == 0
                    assert any("1002" in line for line in admin.lines)

            gateway.process.send_signal(signal.SIGTERM)
            assert await gateway.exit_code() == 0
            assert await etcd.keys("chat/ws.api/") == {}
            assert PASSWORD not in "\n".join([*gateway.lines, *gateway.errors, *first.errors])


@pytest.mark.gen_test
async def test_workers_are_announced_as_one(folder: Path) -> None:
    async with running_etcd() as etcd:
        conf = f"Etcd: {{Hosts: ['{etcd.address}'], Key: ws.api}}\nWorkers: 2\n"
        (folder / "ws.yaml").write_text(f"{CONFIG}{conf}AdvertiseHost: ws.example\n")
        async with running(folder, *skyeim("serve")) as gateway:
            port = (await gateway.event("workers_listening"))["port"]
            await gateway.event("address_announced")
            assert list((await etcd.keys("ws.api/")).values()) == [f"ws.example:{port}"]
            gateway.process.send_signal(signal.SIGTERM)
            assert await gateway.exit_code() == 0
        assert await etcd.keys("ws.api/") == {}


@pytest.mark.gen_test
async def test_services_that_are_not_told_where_to_listen_do_not_start(folder: Path) -> None:
    """Elsewhere than in etcd the gateway would not look for them."""
    conf = "MessageRpc: {Etcd: {Hosts: ['127.0.0.1:1'], Key: message.rpc}}\n"
    (folder / "ws.yaml").write_text(CONFIG + conf)
    async with running(folder, *skyeim("services")) as program:
        assert await program.exit_code() == 1
    assert 'field "MessageRpc.Endpoints" is not set' in program.errors[-1]


@pytest.mark.gen_test
async def test_the_configuration_of_a_go_gateway_serves(folder: Path, server: Server) -> None:
    """Its file as it is, but for the addresses of this machine."""
    text = GO_FILE.read_text()
    secret = "a secret of the deployment, long enough"
    async with (
        running_etcd() as etcd,
        Redis(unix_socket_path=str(server.socket)) as redis,
        go_services(redis) as (go, address),
    ):
        go.befriend(1001, (1002,))
        for name in ("message", "friend", "group"):
            await etcd.put(f"{name}.rpc/7587878", address)
        for here, there in (
            ("127.0.0.1:2379", etcd.address),
            ("127.0.0.1:16379", str(server.socket)),
            ("Port: 10300", "Port: 0"),
        ):
            assert here in text
            text = text.replace(here, there)
        (folder / "ws.yaml").write_text(text)
        async with running(folder, *skyeim("check")) as check:
            assert await check.exit_code() == 0
        async with running(folder, *skyeim("serve")) as gateway:
            port = await gateway.port()
            (told,) = [line for line in gateway.errors if "MessageRpc.BalancerName" in line]
            assert "MessageRpc.KeepaliveTime" in told
            async with user(port, 1001, secret) as alice, user(port, 1002, secret) as bob:
                sent = await alice.chat(1002, "as before")
                assert (await bob.expect("chat", content="as before"))["id"] == sent["id"]
                await alice.expect("ack", msgId=sent["msgId"], status="delivered")
            gateway.process.send_signal(signal.SIGTERM)
            assert await gateway.exit_code() == 0
