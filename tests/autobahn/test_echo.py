"""What the testsuite talks to, plain and with TLS, by some cases of our own."""

import asyncio
import ssl
from urllib.parse import urlsplit

import pytest
from websockets.frames import Close, Opcode

from tests.autobahn.echo import CERTIFICATE, echo_servers
from tests.gateway.raw import RawUser

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def dial(url: str) -> RawUser:
    """Connect to a server by its URL."""
    tls = None
    if urlsplit(url).scheme == "wss":
        tls = ssl.create_default_context(cafile=str(CERTIFICATE))
    port, name = urlsplit(url).port, "localhost" if tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    writer.write(UPGRADE)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return RawUser(reader, writer)


@pytest.mark.gen_test
@pytest.mark.parametrize("server", [0, 1], ids=["plain", "TLS"])
async def test_text_comes_back_and_the_end_comes_at_once(server: int) -> None:
    """Also for whoever breaks the protocol, while more of it is under way."""
    async with echo_servers() as urls:
        user = await dial(urls[server])
        user.send_frame(Opcode.TEXT, "grü".encode()[:3], fin=False)
        user.send_frame(Opcode.PING, b"between")
        user.send_frame(Opcode.CONT, "grüße".encode()[3:])
        assert await user.read_frame() == (Opcode.PONG, b"between")
        assert await user.read_frame() == (Opcode.TEXT, "grüße".encode())
        large = b"x" * 1_000_000
        user.send_frame(Opcode.TEXT, large)
        assert await user.read_frame() == (Opcode.TEXT, large)
        user.write(b"\x81\x02hi" + b"more" * 100_000)
        opcode, payload = await user.read_frame()
        assert (opcode, Close.parse(payload).code) == (Opcode.CLOSE, 1002)
        assert await user.at_end()
        await user.cut()
