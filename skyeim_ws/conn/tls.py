"""TLS on a socket, where OpenSSL gets what came in one read and no more.

OpenSSL on the socket itself reads on for as long as records come in which there is nothing for us,
such as changes of keys. So one peer, who needs no token, could have the loop stand still for 2 s
with each megabyte that it sends.
"""

import errno
import socket
import ssl
from typing import Any

import structlog

log = structlog.get_logger()

READ_BYTES = 16384
"""What is read at a time, at most."""

_MOST_BARREN = 2 * READ_BYTES
"""Bytes without anything for us after which a peer is cut off: a record is half as long."""

_MOST_UNSENT = 4 * READ_BYTES
"""Bytes that wait for a peer who goes on sending: a record of ours, answers of TLS behind it."""


class TlsSocket(socket.socket):
    """The side of the server; takes the place of the socket, and is used without blocking.

    The handshake is part of reading. OSError says that the connection is of no use any more, but
    for BlockingIOError. After `send` has raised that one it wants the same data again, perhaps with
    more behind it.
    """

    __slots__ = ("_barren", "_incoming", "_outgoing", "_shaken", "_taken", "_tls", "_unsent")

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        family, kind, protocol = connection.family, connection.type, connection.proto
        super().__init__(family, kind, protocol, connection.detach())
        self.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False
        self._barren = 0
        # What the kernel has not taken yet, and how much of the caller's data is in it.
        self._unsent = b""
        self._taken = 0

    def recv(self, _size: int = READ_BYTES, _flags: int = 0) -> bytes:
        """Return all that one read brought, up to two records; b"" at the end."""
        came = super().recv(READ_BYTES)
        if not came:
            return b""
        self._incoming.write(came)
        self._barren += len(came)
        try:
            data, ended = self._decrypted()
        except ssl.SSLError as error:
            self._flush()  # an alert
            raise self._failed(error.reason or "unknown") from None
        self._flush()
        if data:
            self._barren = 0
        if self._barren > _MOST_BARREN or len(self._unsent) > _MOST_UNSENT:
            raise self._failed("too many records of TLS itself")
        if not data and not ended:
            raise BlockingIOError
        if data and ended:  # the next read shall find it
            self.shutdown(socket.SHUT_RD)
        return data

    def recv_into(self, buffer: Any, _size: int = 0, _flags: int = 0) -> int:
        """Read into a buffer that has room for two records."""
        data = self.recv()
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def send(self, data: Any, _flags: int = 0) -> int:
        """Return how much was taken, a record at most."""
        if self._unsent and not self._flush():
            raise BlockingIOError
        if not self._taken:
            self._taken = self._tls.write(data)
            if not self._flush():
                raise BlockingIOError
        taken, self._taken = self._taken, 0
        return taken

    def _decrypted(self) -> tuple[bytes, bool]:
        """Return what is in the records that are whole, and whether the peer has ended it."""
        parts: list[bytes] = []
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            while self._incoming.pending:
                part = self._tls.read(READ_BYTES)
                if not part:
                    return b"".join(parts), True
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts), False

    def _failed(self, why: str) -> ConnectionAbortedError:
        """Log why the connection is of no use, and return what says so."""
        try:
            remote = self.getpeername()[0]
        except (OSError, IndexError):  # it is gone, or has no address
            remote = ""
        log.warning("tls_failed", error=why, remote=remote)
        return ConnectionAbortedError(errno.ECONNABORTED, why)

    def _flush(self) -> bool:
        """Send what TLS has for the peer; return whether nothing is left."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        if self._unsent:
            try:
                sent = super().send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return False
            self._unsent = self._unsent[sent:]
        return not self._unsent
