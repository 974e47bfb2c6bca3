"""Real connections without the rest of a gateway: a server whose session only takes notes."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, cast

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import add_accept_handler, bind_sockets
from tornado.web import Application

from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.tls import TlsSocket
from skyeim_ws.gateway import settings
from skyeim_ws.logic.session_state import Session
from tests.gateway.raw import RawUser
from tests.waiting import until

TOKEN_SECONDS = 3600.0


class Clock:
    """Time that passes only when told to; in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class CountedSocket(socket.socket):
    """Notes how much each send took, and refuses so many of the next ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.refusals = 0
        self.sizes: list[int] = []

    def send(self, *args: Any) -> int:
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError
        self.sizes.append(super().send(*args))
        return self.sizes[-1]


class Notes:
    """The session events of all connections."""

    def __init__(self, flusher: Flusher) -> None:
        self.sockets: dict[int, CountedSocket] = {}
        self.hub = Hub(flusher)
        self.received_texts: list[str] = []
        self.confirmed_ids: list[str] = []
        self.returned: dict[int, list[str]] = {}

    async def opened(self, client: Client) -> None:
        self.hub.register(client)
        client.start([], [])

    def received(self, client: Client, text: str) -> None:
        self.received_texts.append(text)

    def confirmed(self, client: Client, deliveries: list[Delivery]) -> None:
        self.confirmed_ids += [delivery.msg_id for delivery in deliveries]

    def ended(self, client: Client, undelivered: list[Delivery]) -> None:
        self.hub.unregister(client)
        self.returned[client.user_id] = [delivery.msg_id for delivery in undelivered]


class Admitted(Client):
    """A client that is whoever it says it is, on a socket that counts if that is wanted."""

    def initialize(self, context: ClientContext[Client], counted: bool = False) -> None:
        super().initialize(context)
        self.counted = counted

    def prepare(self) -> None:
        self.session = Session()
        self.identify(
            user_id=int(self.get_query_argument("user")),
            conn_id="c",
            device="",
            connected_at=0,
            expires_at=self.context.clock() + TOKEN_SECONDS,
        )

    def detach(self) -> IOStream:
        stream = super().detach()
        if self.counted:
            stream.socket = CountedSocket(fileno=stream.socket.detach())
            stream.socket.setblocking(False)  # as the one was that it replaces
            cast(Notes, self.context.events).sockets[self.user_id] = stream.socket
        return stream


class Endpoint:
    """A server of connections, and the way to connect to it."""

    def __init__(
        self,
        stack: AsyncExitStack,
        context: ClientContext[Client],
        notes: Notes,
        counted: bool,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.context = context
        self.notes = notes
        self.hub = notes.hub
        self.stats = context.stats
        self._stack = stack
        listeners = bind_sockets(0, "127.0.0.1")
        self._port = listeners[0].getsockname()[1]
        server = HTTPServer(
            Application([(r"/ws", Admitted, {"context": context, "counted": counted})])
        )
        if tls is None:
            server.add_sockets(listeners)
        else:
            serve_tls(stack, server, listeners, tls)
        stack.push_async_callback(server.close_all_connections)
        stack.callback(server.stop)

    def counted(self, client: Client) -> CountedSocket:
        """Count what the connection sends from now on; of an endpoint that does so."""
        counted = self.notes.sockets[client.user_id]
        counted.sizes.clear()
        return counted

    async def dial(self, user_id: int, receive_buffer: int = 0) -> tuple[RawUser, Client]:
        """Connect; return both ends. `receive_buffer` is in bytes."""
        connection = await self.upgrade(user_id, receive_buffer)
        limit = receive_buffer or 65_536
        reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
        user = RawUser(reader, writer)
        self._stack.push_async_callback(user.cut)
        client = self.hub.get(user_id)
        assert client is not None
        return user, client

    async def dial_tls(self, user_id: int, trust: ssl.SSLContext) -> tuple[RawUser, Client]:
        """Connect to an endpoint with TLS; return both ends."""
        connection = await self._connect(4_096)
        reader, writer = await asyncio.open_connection(
            sock=connection, ssl=trust, server_hostname="localhost", limit=4_096
        )
        user = RawUser(reader, writer)
        self._stack.push_async_callback(user.cut)
        writer.write(_upgrade(user_id))
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: user_id in self.hub)
        client = self.hub.get(user_id)
        assert client is not None
        return user, client

    async def upgrade(self, user_id: int, receive_buffer: int = 0) -> socket.socket:
        """Connect and return the bare socket, when the session is open."""
        loop = asyncio.get_running_loop()
        connection = await self._connect(receive_buffer)
        await loop.sock_sendall(connection, _upgrade(user_id))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(connection, 1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        await until(lambda: user_id in self.hub)
        return connection

    async def _connect(self, receive_buffer: int) -> socket.socket:
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._port))
        return connection


def serve_tls(
    stack: ExitStack | AsyncExitStack,
    server: HTTPServer,
    listeners: list[socket.socket],
    tls: ssl.SSLContext,
) -> None:
    """Have a server take connections over TLS, as the gateway makes them."""

    def accepted(connection: socket.socket, address: Any) -> None:
        server.handle_stream(IOStream(TlsSocket(connection, tls)), address)

    for listener in listeners:
        stack.callback(listener.close)
        stack.callback(add_accept_handler(listener, accepted))


def _upgrade(user_id: int) -> bytes:
    return (
        f"GET /ws?user={user_id} HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


@asynccontextmanager
async def endpoint(
    clock: Any = None,
    *,
    counted: bool = False,
    tls: ssl.SSLContext | None = None,
    **limits: Any,
) -> AsyncIterator[Endpoint]:
    """Serve connections with these limits; the time is the loop's, unless a clock is given.

    With `counted` each `send` of a connection is noted.
    """
    loop = asyncio.get_running_loop()
    stats = Stats()
    flusher = Flusher(loop.call_soon, stats)
    notes = Notes(flusher)
    context = ClientContext(
        events=notes,
        flusher=flusher,
        poller=Poller(flusher),
        limits=settings.limits(WebSocketConf(**limits)),
        stats=stats,
        clock=clock or loop.time,
    )
    async with AsyncExitStack() as stack:
        yield Endpoint(stack, context, notes, counted, tls)


def delivery(number: int, size: int = 5) -> Delivery:
    """Return a private message with this number as its id; `size` is that of its content."""
    data = b'{"id":%d,"content":"%b"}' % (number, b"x" * size)
    return Delivery(data=data, id=number, msg_id=f"m-{number}", from_user_id=9)
