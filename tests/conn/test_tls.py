"""Connections over TLS pass through the same code as plain ones, in pieces of any size."""

import asyncio
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.frames import Opcode

from skyeim_ws.conn import framing
from skyeim_ws.conn.tls import TlsSocket
from skyeim_ws.contract.codes import CloseCode
from tests.conn.endpoint import endpoint
from tests.conn.openssl import change_keys
from tests.waiting import DEADLINE, until

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


@contextmanager
def secured_pair() -> Iterator[tuple[TlsSocket, ssl.SSLObject, socket.socket, ssl.MemoryBIO]]:
    """Return both ends of a connection after its handshake: ours, and a client in three parts."""
    server, trust = secured()
    left, right = socket.socketpair()
    right.settimeout(DEADLINE)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with TlsSocket(left, server) as own, right:
        for _ in range(2):
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
            right.sendall(outgoing.read())
            with pytest.raises(BlockingIOError):
                own.recv()
            incoming.write(right.recv(65_536))
        yield own, client, right, outgoing


def test_a_peer_that_only_changes_its_keys_is_cut_off() -> None:
    with secured_pair() as (own, client, right, outgoing):
        change_keys(client, 2_000, both=False)
        right.send(outgoing.read())
        reads = 0
        with pytest.raises(ConnectionAbortedError):  # noqa: PT012 - how many, is what counts
            while True:
                reads += 1
                with suppress(BlockingIOError):
                    own.recv()
        assert reads == 2


def test_keys_may_change_between_messages() -> None:
    with secured_pair() as (own, client, right, outgoing):
        for number in range(200):
            change_keys(client, 10, both=True)
            client.write(b"%d" % number)
            right.sendall(outgoing.read())
            assert own.recv() == b"%d" % number


def test_a_peer_that_takes_no_answers_to_its_changes_is_cut_off() -> None:
    with secured_pair() as (own, client, right, outgoing):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        with pytest.raises(ConnectionAbortedError):  # noqa: PT012 - it takes a while
            for _ in range(100):
                change_keys(client, 100, both=True)
                client.write(b"on and on")
                right.sendall(outgoing.read())
                assert own.recv() == b"on and on"


def test_what_came_before_the_end_is_not_lost() -> None:
    with secured_pair() as (own, client, right, outgoing):
        client.write(b"last words")
        with suppress(ssl.SSLWantReadError):
            client.unwrap()
        right.sendall(outgoing.read())
        assert own.recv() == b"last words"
        assert select.select([own], [], [], 0)[0] == [own]
        assert own.recv() == b""


def test_what_is_no_tls_is_an_error() -> None:
    server, _ = secured()
    left, right = socket.socketpair()
    with TlsSocket(left, server) as own, right:
        right.settimeout(DEADLINE)
        right.sendall(b"\x16\x03\x01\x00\x05no TLS")
        with pytest.raises(ConnectionAbortedError):
            own.recv()
        assert right.recv(2) == b"\x15\x03"  # an alert
