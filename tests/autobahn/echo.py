"""Servers that send every text back, plain and TLS, over the connections of the gateway."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.framing import Opcode, encode
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway import settings
from tests.conn.endpoint import serve_tls
from tests.waiting import until

_MIB = 1024 * 1024
_TLS = Path(__file__).parent.parent / "gateway" / "tls"
CERTIFICATE = _TLS / "localhost-cert.pem"


class Echo:
    """A session that says what it hears."""

    async def opened(self, client: Client) -> None:
        """Open the session with nothing to say."""
        client.start([], [])

    def received(self, client: Client, text: str) -> None:
        """Send the text back."""
        client.send(encode(Opcode.TEXT, text.encode()))

    def confirmed(self, client: Client, deliveries: list[Delivery]) -> None:
        """Note nothing: nothing is delivered."""

    def ended(self, client: Client, undelivered: list[Delivery]) -> None:
        """Forget nothing: nobody is remembered."""


class Anybody(Client):
    """A client that need not say who it is."""

    def prepare(self) -> None:
        """Let it in."""
        self.identify(user_id=1, conn_id="c", device="", connected_at=0, expires_at=float("inf"))


@asynccontextmanager
async def echo_servers() -> AsyncIterator[tuple[str, str]]:
    """Serve on loopback; yield the URLs of the plain server and of the one with TLS."""
    loop = asyncio.get_running_loop()
    stats = Stats()
    # What the suite sends is more, and faster, than any client of a chat may.
    conf = WebSocketConf(
        max_message_size=16 * _MIB,
        send_queue_size=100_000,
        send_queue_bytes=64 * _MIB,
        rate_limit=0,
        close_timeout=3_600,  # whoever has to wait for this waits for ever
        ping_interval=3_600,
        pong_timeout=7_200,
    )
    flusher = Flusher(loop.call_soon, stats)
    limits = settings.limits(conf)
    context = ClientContext(Echo(), flusher, Poller(flusher), limits, stats, loop.time)
    application = Application([(r"/ws", Anybody, {"context": context})])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE, _TLS / "localhost-key.pem")
    urls, servers = [], []
    stack = ExitStack()
    for scheme, options in (("ws", None), ("wss", tls)):
        listeners = bind_sockets(0, "127.0.0.1")
        server = HTTPServer(application)
        if options is None:
            server.add_sockets(listeners)
        else:
            serve_tls(stack, server, listeners, options)
        servers.append(server)
        urls.append(f"{scheme}://127.0.0.1:{listeners[0].getsockname()[1]}/ws")
    try:
        yield urls[0], urls[1]
    finally:
        stack.close()
        for server in servers:
            server.stop()
            await server.close_all_connections()
        # The clients have gone; what is left of a connection is noticed in the next turn.
        await until(lambda: stats.connections_closed == stats.connections_opened)
