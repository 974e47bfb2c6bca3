"""Serves connections: a handshake at once, all else by Tornado. Bounds those without a token."""

import asyncio
import select
import socket
from typing import Any

import structlog
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.tornado_private import stream_of
from skyeim_ws.gateway.listener import Take
from skyeim_ws.handler.gate import Unknown
from skyeim_ws.handler.http_application import MAX_HEAD_BYTES, HttpApplication

log = structlog.get_logger()

PATIENCE = 1.0
"""Seconds for the first bytes; then Tornado waits for them, which has a time-out for a request."""


class EdgeServer(HTTPServer):
    """Serves HTTP, and knows which connections have not shown a token yet."""

    def initialize(  # type: ignore[override]
        self, application: HttpApplication, poller: Poller, **options: Any
    ) -> None:
        """Take the poller beside what Tornado wants."""
        super().initialize(application, max_header_size=MAX_HEAD_BYTES, **options)
        self._application = application
        self._poller = poller
        self._silent: set[_Silent] = set()

    def take(self, application: HttpApplication) -> None:
        """Serve the requests to come by this, also on connections that are open."""
        self.request_callback = self._application = application

    def handle_socket(self, connection: socket.socket, address: Any, otherwise: Take) -> None:
        """Make a session of a connection if it begins with a handshake, or leave it to another."""
        if self._is_served(connection, address, otherwise):
            return
        silent = _Silent(self, connection, address, otherwise)
        self._silent.add(silent)
        self._enter(silent, address)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection; for it another one may have to go."""
        self._enter(stream, address)
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Note that the connection is closed, or a WebSocket by now."""
        super().on_close(server_conn)
        stream = stream_of(server_conn)
        if stream is not None:
            self._application.gate.handshakes.leave(stream)

    async def close_all_connections(self) -> None:
        """Close those that are no sessions."""
        for silent in list(self._silent):
            silent.close()
        await super().close_all_connections()

    def watch(self, silent: "_Silent", connection: socket.socket) -> None:
        """Tell it what comes first."""
        self._poller.watch(connection.fileno(), select.EPOLLIN, silent.heard)

    def forget(self, silent: "_Silent", connection: socket.socket) -> None:
        """Note that it is not silent any more."""
        self._poller.forget(connection.fileno())
        self._silent.discard(silent)
        self._application.gate.handshakes.leave(silent)

    def serve(self, connection: socket.socket, address: Any, otherwise: Take) -> None:
        """Serve a connection of which something has come."""
        if not self._is_served(connection, address, otherwise):
            otherwise(connection, address)

    def _is_served(self, connection: socket.socket, address: Any, otherwise: Take) -> bool:
        """Serve a connection, or return False if nothing has come yet."""
        application = self._application
        try:
            if application.upgrade is None or not application.upgrade(
                application, connection, _peer(address)
            ):
                otherwise(connection, address)
        except BlockingIOError:
            return False
        except OSError:  # the peer is gone
            connection.close()
        return True

    def _enter(self, connection: Unknown, address: Any) -> None:
        gate, peer = self._application.gate, _peer(address)
        gone = gate.handshakes.enter(connection, "" if peer in gate.proxies else peer)
        if gone is not None:
            gate.stats.handshakes_dropped += 1
            log.warning("handshake_dropped", waiting=len(gate.handshakes), remote=peer)
            gone.close()


class _Silent:
    """A connection of which nothing has come yet."""

    __slots__ = ("_address", "_connection", "_otherwise", "_server", "_timer")

    def __init__(
        self, server: EdgeServer, connection: socket.socket, address: Any, otherwise: Take
    ) -> None:
        self._server = server
        self._connection = connection
        self._address = address
        self._otherwise = otherwise
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self.heard, 0)
        server.watch(self, connection)

    def heard(self, _: int) -> None:
        """Have it served."""
        self._timer.cancel()
        self._server.forget(self, self._connection)
        self._server.serve(self._connection, self._address, self._otherwise)

    def close(self) -> None:
        """Close it."""
        self._timer.cancel()
        self._server.forget(self, self._connection)
        self._connection.close()


def _peer(address: Any) -> str:
    return address[0] if isinstance(address, tuple) else ""
