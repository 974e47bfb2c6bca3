"""A client that does only what a test tells it to: it answers no ping and hides no frame."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.frames import Close, Frame, Opcode

from tests.api.traffic import check_received
from tests.waiting import DEADLINE
from tests.world import World


class RawUser:
    """A connection after the upgrade, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.pings: list[bytes] = []
        self.bytes_read = 0

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._writer.write(data)

    def send_frame(self, opcode: Opcode, payload: bytes, **flags: bool) -> None:
        """Write a frame, masked as a client must."""
        self.write(Frame(opcode, payload, **flags).serialize(mask=True))

    def send(self, kind: str, **data: Any) -> None:
        """Write a text frame; names are as on the wire."""
        self.send_frame(Opcode.TEXT, json.dumps({"type": kind, "data": data}).encode())

    async def read_frame(self) -> tuple[Opcode, bytes]:
        """Return the next frame of any type."""
        first, size = await self.read_bytes(2)
        if size == 126:
            size = int.from_bytes(await self.read_bytes(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.read_bytes(8), "big")
        return Opcode(first & 0x0F), await self.read_bytes(size)

    async def read_bytes(self, count: int) -> bytes:
        """Return so many bytes, whatever they are part of."""
        async with asyncio.timeout(DEADLINE):
            data = await self._reader.readexactly(count)
        self.bytes_read += count
        return data

    async def expect(self, kind: str, **data: Any) -> dict[str, Any]:
        """Return the data of the next text frame of this type that has these fields."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode is Opcode.PING:
                self.pings.append(payload)
            elif opcode is Opcode.TEXT:
                frame = json.loads(payload)
                check_received(frame)
                found: dict[str, Any] = frame["data"]
                if frame["type"] == kind and data.items() <= found.items():
                    return found

    async def next_kind(self) -> str:
        """Return the type of the next text frame."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode is Opcode.TEXT:
                return str(json.loads(payload)["type"])

    async def next_ping(self) -> bytes:
        """Return the payload of the oldest ping that was not taken from here yet."""
        while not self.pings:
            opcode, payload = await self.read_frame()
            if opcode is Opcode.PING:
                self.pings.append(payload)
        return self.pings.pop(0)

    async def close_frame(self) -> Close:
        """Return the server's close frame; what comes before it is dropped."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode is Opcode.CLOSE:
                return Close.parse(payload)

    async def at_end(self) -> bool:
        """Whether the server has ended the TCP connection, and wrote nothing more."""
        async with asyncio.timeout(DEADLINE):
            return await self._reader.read() == b""

    def end(self) -> None:
        """Say that nothing more will be written, and go on reading."""
        self._writer.write_eof()

    async def cut(self) -> None:
        """End the TCP connection without a word."""
        self._writer.transport.abort()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def raw_user(
    world: World, user_id: int, *, receive_buffer: int = 0, ahead: bytes = b"", query: str = ""
) -> AsyncIterator[RawUser]:
    """Upgrade a connection; `receive_buffer` is the size of the kernel's buffer in bytes.

    `ahead` is written together with the request.
    """
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", world.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=receive_buffer or 65536)
    user = RawUser(reader, writer)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        user.write(
            f"GET /ws{query} HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\n"
            f"Authorization: Bearer {world.token(user_id)}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
            + ahead
        )
        async with asyncio.timeout(DEADLINE):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield user
    finally:
        await user.cut()
