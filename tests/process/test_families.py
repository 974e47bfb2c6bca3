"""`Host: "::"`: both families are listened on, and embedded services reach the gateway."""

from pathlib import Path

import grpc
import pytest
from tornado.httpclient import HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from skyeim_ws.contract.pb.friend_pb2 import AddFriendRequestReq
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from tests.process.conftest import CONFIG, running, skyeim, user

DEMO = skyeim("demo", "--port", "0", "--data-dir", "data")


@pytest.mark.parametrize(("workers", "event"), [(1, "gateway_listening"), (2, "workers_listening")])
@pytest.mark.gen_test
async def test_both_families_are_served(folder: Path, workers: int, event: str) -> None:
    config = CONFIG.replace("Host: 127.0.0.1", 'Host: "::"') + f"Workers: {workers}\n"
    # Where only our own services may push without a configured secret.
    (folder / "ws.yaml").write_text(config.replace("Mode: test", "Mode: pro"))
    async with running(folder, *DEMO) as program:
        port = (await program.event(event))["port"]
        http = SimpleAsyncHTTPClient(force_instance=True)
        try:
            for host in ("127.0.0.1", "[::1]"):
                health = await http.fetch(HTTPRequest(f"http://{host}:{port}/health"))
                assert health.code == 200
        finally:
            http.close()
        services = f"unix:{folder}/data/run/services.sock"
        async with user(port, 2001) as stranger, grpc.aio.insecure_channel(services) as channel:
            await stranger.expect("connected")
            request = AddFriendRequestReq(from_user_id=1001, to_user_id=2001)
            await FriendStub(channel).AddFriendRequest(request)
            await stranger.expect("friend_request", fromUserId=1001)
