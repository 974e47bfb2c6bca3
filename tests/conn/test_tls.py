"""Connections over TLS pass through the same code as plain ones, in pieces of any size."""

import asyncio
import ssl
from pathlib import Path

import pytest
from websockets.frames import Opcode

from skyeim_ws.conn import framing
from skyeim_ws.contract.codes import CloseCode
from tests.conn.endpoint import endpoint
from tests.waiting import until

FILES = Path(__file__).parent.parent / "gateway" / "tls"
CERTIFICATE, KEY = FILES / "localhost-cert.pem", FILES / "localhost-key.pem"


def secured() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server and of a client that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE, KEY)
    return server, ssl.create_default_context(cafile=str(CERTIFICATE))


@pytest.mark.gen_test
async def test_a_connection_with_tls_has_no_task() -> None:
    server, trust = secured()
    async with endpoint(tls=server) as running:
        tasks = len(asyncio.all_tasks())
        user, client = await running.dial_tls(1, trust)
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        user.send_frame(Opcode.PING, b"still here")
        assert await user.read_frame() == (Opcode.PONG, b"still here")
        assert client.direct is not None


@pytest.mark.gen_test
async def test_messages_larger_than_a_record_come_whole() -> None:
    server, trust = secured()
    async with endpoint(tls=server, max_message_size=200_000) as running:
        user, _ = await running.dial_tls(1, trust)
        text = "long" * 40_000
        user.send_frame(Opcode.TEXT, text.encode())
        await until(lambda: running.notes.received_texts == [text])


@pytest.mark.gen_test
async def test_what_the_kernel_does_not_take_comes_later_and_in_order() -> None:
    server, trust = secured()
    async with endpoint(tls=server) as running:
        user, client = await running.dial_tls(1, trust)
        frames = [framing.encode(framing.Opcode.TEXT, b"%d" % n * 900) for n in range(100, 300)]
        for frame in frames:
            client.send(frame)
        # More than one turn may write: what waits is retried as TLS began it.
        await until(lambda: client.direct is None)
        for number in range(100, 300):
            assert await user.read_frame() == (Opcode.TEXT, b"%d" % number * 900)
        await until(lambda: client.direct is not None)
        assert running.stats.slow_consumers == 0


@pytest.mark.gen_test
async def test_the_reason_of_a_close_arrives_and_a_peer_may_leave() -> None:
    server, trust = secured()
    async with endpoint(tls=server) as running:
        user, _ = await running.dial_tls(1, trust)
        user.send_frame(Opcode.BINARY, b"not allowed")
        assert (await user.close_frame()).code == CloseCode.UNSUPPORTED_DATA
        await until(lambda: 1 not in running.hub)
        leaving, _ = await running.dial_tls(2, trust)
        await leaving.cut()
        await until(lambda: 2 not in running.hub)


@pytest.mark.gen_test
async def test_reading_that_pauses_goes_on() -> None:
    server, trust = secured()
    async with endpoint(tls=server) as running:
        user, client = await running.dial_tls(1, trust)
        client.set_reading(on=False)
        user.send_frame(Opcode.TEXT, b"one")
        user.send_frame(Opcode.TEXT, b"two")
        client.set_reading(on=True)
        await until(lambda: running.notes.received_texts == ["one", "two"])
