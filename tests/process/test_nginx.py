"""etc/nginx.conf in a real nginx: chat over two nodes, what the logs keep, a drained node."""

import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests import log_secrets
from tests.ports import free_port
from tests.process.conftest import Program, running, skyeim
from tests.store.servers import Server
from tests.waiting import until
from tests.world import PUSH_SECRET, SECRET, User, World, world

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
CONF = Path(__file__).resolve().parents[2] / "etc" / "nginx.conf"
TLS = Path(__file__).parent.parent / "gateway" / "tls"
CLIENT = "127.0.0.2"

needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx is installed")
pytestmark = needs_nginx


def node_config(here: World, redis: Path, name: str, port: int) -> str:
    """Return the configuration of a node on the Redis and the services of a running world."""
    rpc = f"{{Endpoints: ['{here.service_address}'], Timeout: 10000}}"
    return f"""
Name: {name}
Host: 127.0.0.1
Port: {port}
Auth: {{AccessSecret: "{SECRET}"}}
TrustedProxies: [127.0.0.1]
Redis: {{Host: {redis}}}
MessageRpc: {rpc}
FriendRpc: {rpc}
GroupRpc: {rpc}
PushEvent: {{Secret: "{PUSH_SECRET}"}}
Shutdown: {{WrapUpTime: 200ms, WaitTime: 2s}}
WebSocket: {{LoginBurst: 0, CallRate: 0}}
"""


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[Program]:
    """Run a node until it has drained, unless it was killed before."""
    async with running(folder, *skyeim("serve")) as program:
        await program.port()
        yield program
        if program.process.returncode is None:
            program.process.send_signal(signal.SIGTERM)
            assert await program.exit_code() == 0


@asynccontextmanager
async def proxy(folder: Path, nodes: list[int]) -> AsyncIterator[int]:
    """Run nginx with our file, in which places alone are changed; gives its port."""
    port = free_port()
    text = CONF.read_text()
    for before, after in (
        ("10.0.0.11:10300", f"127.0.0.1:{nodes[0]}"),
        ("10.0.0.12:10300", f"127.0.0.1:{nodes[1]}"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/ssl/chat.pem", str(TLS / "localhost-cert.pem")),
        ("/etc/ssl/chat.key", str(TLS / "localhost-key.pem")),
        ("/var/log/nginx/", f"{folder}/"),
    ):
        assert before in text
        text = text.replace(before, after)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{ worker_connections 8192; }}\nhttp {{\naccess_log off;\n{paths}{text}}}\n"
    )
    assert NGINX is not None
    command = (NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"))
    try:
        async with running(folder, *command) as program:
            await until((folder / "pid").exists)
            yield port
            program.process.send_signal(signal.SIGQUIT)
            program.process.kill()
    finally:
        log_secrets.keep_files(folder)


def trusting() -> ssl.SSLContext:
    """Return what takes the certificate of the tests, whatever the name."""
    tls = ssl.create_default_context(cafile=TLS / "localhost-cert.pem")
    tls.check_hostname = False
    return tls


def address(here: World, port: int, user_id: int) -> str:
    """Return where a user connects to."""
    return f"wss://127.0.0.1:{port}/ws?token={here.token(user_id)}"


@asynccontextmanager
async def user(here: World, port: int, user_id: int) -> AsyncIterator[tuple[User, str]]:
    """Connect a user through nginx; gives also the name of its node."""
    async with connect(
        address(here, port, user_id), ssl=trusting(), ping_interval=None, local_addr=(CLIENT, 0)
    ) as connection:
        connected = User(user_id, connection)
        yield connected, (await connected.expect("connected"))["server"]


@pytest.mark.gen_test
async def test_two_nodes_behind_nginx_are_one(server: Server, folder: Path, tmp_path: Path) -> None:
    async with world(server.socket, tmp_path) as here:
        ports = [free_port(), free_port()]
        folders = [folder / "one", folder / "two"]
        for place, port in zip(folders, ports, strict=True):
            place.mkdir()
            (place / "ws.yaml").write_text(node_config(here, server.socket, place.name, port))
        async with (
            proxy(folder, ports) as port,
            node(folders[0]) as one,
            node(folders[1]) as two,
        ):
            async with (
                user(here, port, 1001) as (alice, first),
                user(here, port, 1002) as (bob, second),
            ):
                assert {first, second} == {"one", "two"}
                for sender, receiver in ((alice, bob), (bob, alice)):
                    await sender.chat(receiver.user_id, "hello")
                    await receiver.expect("chat", content="hello")
            opened = one.events("connection_opened") + two.events("connection_opened")
            assert {entry["remote"] for entry in opened} == {CLIENT}
            # Drained, the first one has the fewest connections, and nginx asks it before the other.
            async with running(folders[0], *skyeim("admin", "node", "drain", "one")) as ordered:
                assert await ordered.exit_code() == 0
            for user_id in (1001, 1002, 1003):
                async with user(here, port, user_id) as (_, server_name):
                    assert server_name == "two"
        kept = (folder / "skyeim-ws.access.log").read_text() + (folder / "error.log").read_text()
        assert " GET /ws 101 " in kept
        assert "token" not in kept
        assert here.token(1001).partition(".")[0] not in kept
