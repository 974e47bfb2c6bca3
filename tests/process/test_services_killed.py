"""The business services are killed between the commit of a change and its push."""

import ssl
import sys
from pathlib import Path

import grpc
import pytest

from skyeim_ws.contract.pb.friend_pb2 import AddFriendRequestReq
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from tests.process.conftest import running
from tests.services.peers import running_gateway

TLS = Path(__file__).parents[1] / "gateway" / "tls"
CERT, KEY = TLS / "localhost-cert.pem", TLS / "localhost-key.pem"


@pytest.mark.gen_test
async def test_who_was_asked_hears_of_it_after_the_restart_over_tls(folder: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERT, KEY)
    async with running_gateway(tls=context) as gateway:
        port = int(gateway.url.rpartition(":")[2])
    address = f"unix:{folder}/services.sock"
    command = [sys.executable, "-m", "skyeim_ws.services.server", "--listen", address]
    command += ["--data-source", str(folder / "im.db")]
    command += ["--push-url", gateway.url, "--push-cert-file", str(CERT)]
    async with running(folder, *command) as services:
        await services.until(lambda: any('"services_listening"' in e for e in services.errors))
        async with grpc.aio.insecure_channel(address) as channel:
            for sender in (1, 2, 3):
                await FriendStub(channel).AddFriendRequest(
                    AddFriendRequestReq(from_user_id=sender, to_user_id=4)
                )
        await services.until(lambda: any('"events_delayed"' in e for e in services.errors))
        services.process.kill()
        await services.exit_code()
    async with running_gateway(port, context) as gateway, running(folder, *command):
        heard = await gateway.heard("friend_request", 3)
        assert [(call["userId"], call["data"]["fromUserId"]) for call in heard] == [
            (4, 1),
            (4, 2),
            (4, 3),
        ]
