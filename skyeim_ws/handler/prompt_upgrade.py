"""Upgrades a connection whose first bytes are a whole handshake; all others are Tornado's.

Tornado makes a stream, a chain of coroutines and some twenty objects for the one request of a
WebSocket: 400 us, half of a login. A handshake in the form that clients send needs none of them.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import structlog
from tornado.escape import parse_qs_bytes
from tornado.httputil import HTTPServerRequest

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.tornado_private import accept_value
from skyeim_ws.handler.bearer import offered_subprotocols
from skyeim_ws.handler.http_application import MAX_HEAD_BYTES, SOCKET_PATH, HttpApplication
from skyeim_ws.handler.ws_handler import Admission, WSHandler

log = structlog.get_logger()

_HEAD = re.compile(
    rb"GET %b(?:\?([A-Za-z0-9._~:/?@!$&'()*+,;=%%-]*))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[\t -~]*\r\n)+)\r\n" % SOCKET_PATH.encode()
)
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?")
_OF_NO_HANDSHAKE = ("content-length", "transfer-encoding", "expect")

_ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {key}\r\n{more}\r\n"
)


class Headers(dict[str, str]):
    """Fields of a head by their names in lower case; `get` takes any case."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field."""
        return super().get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())


class Handshake:
    """As much of Tornado's request as is looked at for a handshake."""

    __slots__ = ("headers", "query_arguments", "remote_ip", "size")

    method = "GET"
    path = SOCKET_PATH
    version = "HTTP/1.1"
    connection = None

    def __init__(self, headers: Headers, query: str, size: int) -> None:
        self.headers = headers
        self.query_arguments = parse_qs_bytes(query, keep_blank_values=True)
        self.remote_ip = ""
        self.size = size
        """Bytes of its head."""

    def as_request(self) -> HTTPServerRequest:
        """Return this as what handlers take."""
        return cast(HTTPServerRequest, self)


def read(data: bytes) -> Handshake | None:
    """Return the handshake that is the beginning of the data, if it is a whole and usual one.

    It says what Tornado would find in it. Whether it is a good one is not judged.
    """
    head = _HEAD.match(data)
    if head is None:
        return None
    query, lines = head.groups()
    fields = lines.decode("ascii").split("\r\n")[:-1]
    headers = Headers()
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip(" \t")
    whole = len(headers) == len(fields)  # else one came twice
    if not whole or not _HOST.fullmatch(headers.get("host", "")):
        return None
    if any(name in headers for name in _OF_NO_HANDSHAKE):
        return None
    return Handshake(headers, (query or b"").decode("ascii"), head.end())


class PromptUpgrade:
    """Answers handshakes for an application; `spawn` runs what follows."""

    def __init__(
        self,
        context: ClientContext[Client],
        admission: Admission,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._context = context
        self._admission = admission
        self._spawn = spawn

    def take(self, application: HttpApplication, connection: socket.socket, peer: str) -> bool:
        """Upgrade the connection, or read nothing of it and return False."""
        handshake = read(connection.recv(MAX_HEAD_BYTES, socket.MSG_PEEK))
        if handshake is None:
            return False
        handshake.remote_ip = application.gate.proxies.client_address(peer, handshake.headers)
        client = WSHandler.admitted(
            handshake.as_request(), application, self._context, self._admission
        )
        if client is None:
            return False
        connection.recv(handshake.size)  # what follows are frames already
        answer = self._answer(client, handshake)
        if connection.send(answer) < len(answer):
            raise OSError("no room for the answer")  # of an empty buffer
        self._spawn(self._open(client, connection))
        return True

    def _answer(self, client: WSHandler, handshake: Handshake) -> bytes:
        offered = offered_subprotocols(handshake.as_request())
        chosen = client.select_subprotocol(offered)
        more = f"Sec-WebSocket-Protocol: {chosen}\r\n" if chosen else ""
        key = accept_value(handshake.headers["sec-websocket-key"])
        return _ANSWER.format(key=key, more=more).encode()

    async def _open(self, client: WSHandler, connection: socket.socket) -> None:
        try:
            await client.upgraded(connection)
        except asyncio.CancelledError:
            connection.close()
            raise
        except Exception:
            connection.close()
            log.exception("handshake_failed")
