"""The floors: the least that Python, and the least that Tornado, can do the same work with."""

import asyncio
import gc
import socket
import ssl

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

_READ_BYTES = 65_536
_UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Sends:
    """Floor (a): whatever the first connection writes makes a bare loop of sends to all others."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def listen(self) -> int:
        """Return the port."""
        port: int = self._listener.getsockname()[1]
        return port

    def serve(self, receivers: int, frame: bytes) -> None:
        """Accept so many receivers after the sender, then send each of them frame after frame."""
        sender = self._accept()
        sockets = [self._accept() for _ in range(receivers)]
        for each in sockets:
            # As the gateway's are; also, a blocking one would hide that a receiver does not drain.
            each.setblocking(False)
        gc.freeze()
        while sender.recv(_READ_BYTES):
            for each in sockets:
                each.send(frame)

    def _accept(self) -> socket.socket:
        accepted, _ = self._listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not accepted.recv(_READ_BYTES).endswith(b"\r\n\r\n"):
            pass
        accepted.sendall(_UPGRADE)
        return accepted


class Secured:
    """The floor of TLS: accepts connections and holds them, with nothing but `ssl`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def listen(self) -> int:
        """Return the port."""
        port: int = self._listener.getsockname()[1]
        return port

    def serve(self, certificate: str, key: str) -> None:
        """Answer each handshake, of TLS and of WebSocket; does not return."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        held = []
        while True:
            accepted, _ = self._listener.accept()
            secured = context.wrap_socket(accepted, server_side=True)
            while not secured.recv(_READ_BYTES).endswith(b"\r\n\r\n"):
                pass
            secured.sendall(_UPGRADE)
            held.append(secured)


class _Echo(WebSocketHandler):
    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)

    def check_origin(self, origin: str) -> bool:
        return True

    def data_received(self, chunk: bytes) -> None:
        raise NotImplementedError


class Tornado:
    """Floor (b): a bare WebSocket handler that sends back what it gets."""

    def __init__(self) -> None:
        self._listeners = bind_sockets(0, "127.0.0.1")

    def listen(self) -> int:
        """Return the port."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    def serve(self) -> None:
        """Serve; does not return."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = HTTPServer(Application([("/ws", _Echo)]))
        server.add_sockets(self._listeners)
        await asyncio.Event().wait()
