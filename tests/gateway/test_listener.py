"""Connections that cost without bringing a token, and a machine that has no more to give."""

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tornado.iostream import IOStream, UnsatisfiableReadError

from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.listener import Listener, bind
from skyeim_ws.handler.http_application import MAX_HEAD_BYTES
from tests.gateway.conftest import MakeWorld
from tests.gateway.http_raw import ask, exchange
from tests.gateway.raw import raw_user
from tests.waiting import DEADLINE, until
from tests.world import World

TLS = Path(__file__).parent / "tls"


@asynccontextmanager
async def silent(world: World, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Open connections that say nothing, one after the other, and wait until they are accepted."""
    opened = []
    for _ in range(count):
        opened.append(await asyncio.open_connection("127.0.0.1", world.port))
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for _, w in opened), return_exceptions=True)


async def is_ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends a connection without a word."""
    try:
        async with asyncio.timeout(DEADLINE):
            return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.gen_test
@pytest.mark.parametrize("bound", ["max_handshakes", "max_conns_per_ip"])
async def test_who_says_nothing_has_to_go_for_who_comes(make_world: MakeWorld, bound: str) -> None:
    async with make_world(**{bound: 5}) as world:
        alice = await world.login(1001)
        async with silent(world, 5) as readers, silent(world, 3):
            for reader in readers[:3]:
                assert await is_ended(reader)
            # The others are still here, and nobody who is known counts.
            assert world.gateway.stats.handshakes_dropped == 3
            bob = await world.login(1002)
            await bob.chat(1001, "hello")
            await alice.expect("chat", content="hello")
            # He counts himself until his request has come.
            assert world.gateway.stats.handshakes_dropped in (3, 4)
        assert {frame["type"] for frame in await alice.quiet()} <= {"online"}


@pytest.mark.gen_test
async def test_a_trusted_proxy_is_not_one_address(make_world: MakeWorld) -> None:
    settings = {"trusted_proxies": ("127.0.0.1",)}
    async with make_world(max_conns_per_ip=1, settings=settings) as world:
        async with silent(world, 5):
            assert (await ask(world, "GET /health HTTP/1.1")).status == 200
        assert world.gateway.stats.handshakes_dropped == 0


@pytest.mark.gen_test
async def test_a_caller_with_a_token_does_not_count(make_world: MakeWorld) -> None:
    """Also between two of its calls on one connection."""
    async with make_world(max_handshakes=2) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        request = (
            "GET /message/unread/count HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {world.token(1001)}\r\n\r\n"
        ).encode()
        for _ in range(2):
            writer.write(request)
            async with asyncio.timeout(DEADLINE):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readuntil(b"}}")
            assert head.startswith(b"HTTP/1.1 200 ")
            async with silent(world, 3):
                await until(lambda: world.gateway.stats.handshakes_dropped > 0)
        writer.close()
        await writer.wait_closed()


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [17_000, 65_000, 400_000])
async def test_a_head_that_is_too_large_gets_431(make_world: MakeWorld, size: int) -> None:
    async with make_world() as world:
        head = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"x" * size
        for end in (b"", b"\r\n\r\n"):
            answer = await exchange(world.port, head + end)
            assert (answer.status, answer.json["code"]) == (431, 431)
        assert (await ask(world, "GET /health HTTP/1.1")).status == 200


@pytest.mark.gen_test
async def test_who_is_gone_before_its_head_is_read_is_no_fault(make_world: MakeWorld) -> None:
    """Several reads end at once: what came is too large, and nothing more will come."""
    async with make_world() as world:
        with capture_logs() as lines:
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", world.port)
                # Two requests: the head of the second is looked at when the first is answered.
                writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n")
                writer.write(b"A: " + b"x" * 20_000)
                writer.close()
                await writer.wait_closed()
            assert (await ask(world, "GET /health HTTP/1.1")).status == 200
        assert [line for line in lines if line["log_level"] == "error"] == []


@pytest.mark.gen_test
async def test_a_head_that_is_too_large_gets_431_over_tls(make_world: MakeWorld) -> None:
    certificate = TLS / "localhost-cert.pem"
    files = {"cert_file": str(certificate), "key_file": str(TLS / "localhost-key.pem")}
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False
    async with make_world(settings=files) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port, ssl=trust)
        writer.write(b"GET /health HTTP/1.1\r\nX-Filler: " + b"x" * 17_000)
        async with asyncio.timeout(DEADLINE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


class Endless(socket.socket):
    """Has as much to read as is asked for, each time."""

    read = 0

    def recv(self, size: int, _flags: int = 0) -> bytes:
        self.read += size
        return bytes(size)


@pytest.mark.gen_test
async def test_who_never_stops_sending_its_head_is_left() -> None:
    [listening] = bind("127.0.0.1", 0)
    served: asyncio.Future[Endless] = asyncio.get_running_loop().create_future()

    def serve(stream: IOStream, _: object) -> None:
        stream.socket = endless = Endless(fileno=stream.socket.detach())
        stream.close(UnsatisfiableReadError(f"delimiter not found within {MAX_HEAD_BYTES} bytes"))
        served.set_result(endless)

    listener = Listener(listening, serve, Stats())
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    async with asyncio.timeout(DEADLINE):
        assert (await served).read == 4_194_304
        assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
    writer.close()
    await writer.wait_closed()
    listener.close()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Take from this process what it has not opened yet; tests run one after the other here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        lowest = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.gen_test
async def test_out_of_descriptors_accepting_pauses_and_goes_on(make_world: MakeWorld) -> None:
    async with make_world() as world, raw_user(world, 1001) as alice:
        await alice.expect("connected")
        with capture_logs() as lines:
            waiting = socket.socket()
            waiting.setblocking(False)
            with no_descriptor_left():
                loop = asyncio.get_running_loop()
                await loop.sock_connect(waiting, ("127.0.0.1", world.port))
                await until(lambda: world.gateway.stats.accept_pauses > 0)
                # The others are served meanwhile, for many turns of the loop.
                for _ in range(50):
                    alice.send("ping")
                    await alice.expect("pong")
            await loop.sock_sendall(waiting, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(DEADLINE):
                assert (await loop.sock_recv(waiting, 1000)).startswith(b"HTTP/1.1 200 ")
            waiting.close()
        said = [line["event"] for line in lines]
        assert [event for event in said if event.startswith("accept")] == [
            "accept_paused",
            "accept_resumed",
        ]


# Users who come too often.


@pytest.mark.gen_test
async def test_a_war_of_two_devices_costs_both(make_world: MakeWorld) -> None:
    async with make_world(login_burst=3, login_interval=3600) as world:
        for device in ("a", "b", "a", "b"):
            async with raw_user(world, 1001, query=f"?device={device}") as user:
                await user.expect("connected")
        upgrade = (
            *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        for device in ("a", "b"):
            answer = await ask(world, f"GET /ws?device={device} HTTP/1.1", *upgrade, user_id=1001)
            assert (answer.status, answer.json["code"]) == (429, 429)
            assert 0 < answer.json["retry_after_ms"] <= 1_000
            assert answer.headers["retry-after"] == "1"
        assert world.gateway.stats.logins_limited == 2
        # Others are none of their business.
        await world.login(1002)


@pytest.mark.gen_test
async def test_calls_of_a_user_are_limited(make_world: MakeWorld) -> None:
    async with make_world(call_rate=1, call_burst=5) as world:
        path = "GET /message/unread/count HTTP/1.1"
        answers = [await ask(world, path, user_id=1001) for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        last = answers[-1]
        assert last.json["code"] == 30009
        assert 0 < last.json["retry_after_ms"] <= 1_000
        assert last.headers["retry-after"] == "1"
        assert (await ask(world, path, user_id=1002)).status == 200
        assert world.gateway.stats.calls_limited == 1


@pytest.mark.gen_test
async def test_who_is_in_the_backlog_when_a_listener_closes_is_served() -> None:
    """The kernel has told such a client that it is connected; closing would reset it."""
    [listening] = bind("127.0.0.1", 0)
    served: list[IOStream] = []
    listener = Listener(listening, lambda stream, _: served.append(stream), Stats())
    with socket.create_connection(listening.getsockname()):
        listener.close()
        assert len(served) == 1
        served[0].close()
