"""Calls over a connection of our own, and when they go through grpcio instead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from skyeim_ws.contract.grpc_tls import client_tls
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.rpc.channel import Channel
from skyeim_ws.rpc.connection import Connection
from skyeim_ws.rpc.errors import failure
from tests.rpc.servers import hang, serving
from tests.waiting import until

OURS, GRPCIO = "ours", "grpcio"
TLS = Path(__file__).parent.parent / "gateway" / "tls"


class Server:
    """Answers with as much as it is asked for, and notes by what it was asked."""

    def __init__(self) -> None:
        self.ways: list[str] = []
        self.left: list[float] = []

    async def answer(self, request: Any, context: Any) -> pb.SendMessageResp:
        metadata = dict(context.invocation_metadata())
        self.ways.append(GRPCIO if "grpc-python" in metadata["user-agent"] else OURS)
        self.left.append(context.time_remaining())
        if request.msg_id == "refused":
            await context.abort(StatusCode.PERMISSION_DENIED, "nicht 好", (("reason", "blocked"),))
        return pb.SendMessageResp(msg_id=metadata.get("said", "") + "x" * request.to_user_id)

    @property
    def methods(self) -> dict[str, Any]:
        return {"SendMessage": self.answer}


@asynccontextmanager
async def channel(address: str, tls: Any = None, authority: str = "") -> AsyncIterator[Channel]:
    opened = Channel(address, tls, (), authority, "skyeim-ws/test")
    try:
        yield opened
    finally:
        await opened.close(None)


async def direct(calls: Channel) -> Connection:
    found = await until(calls.direct)
    assert found is not None
    return found


async def ask(
    channel: Channel, size: int = 0, msg_id: str = "m", timeout: float = 20.0, **more: Any
) -> str:
    request = pb.SendMessageReq(to_user_id=size, msg_id=msg_id)
    stub = MessageStub(cast(Any, channel))
    answer = await cast(Any, stub).SendMessage(request, timeout=timeout, **more)
    return str(answer.msg_id)


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_calls_go_over_a_connection_of_our_own(tmp_path: Path, kind: str) -> None:
    server = Server()
    wanted = f"unix:{tmp_path}/s" if kind == "unix" else "127.0.0.1:0"
    async with serving(wanted, message=server.methods) as address, channel(address) as calls:
        assert await ask(calls, wait_for_ready=True) == ""  # there is none yet
        await direct(calls)
        assert await ask(calls, 3, metadata=(("said", "hello "),)) == "hello xxx"
        assert len(await ask(calls, 10_000_000)) == 10_000_000
        await asyncio.gather(*(ask(calls, 10) for _ in range(100)))
        assert server.ways == [GRPCIO] + [OURS] * 102
        assert max(server.left) < 21  # the clocks of the two differ by some milliseconds


@pytest.mark.gen_test
async def test_a_huge_answer_comes_before_its_deadline(tmp_path: Path) -> None:
    """A server without pages gives all that a user has not read; nothing else goes on meanwhile."""
    server = Server()
    async with (
        serving(f"unix:{tmp_path}/s", message=server.methods) as address,
        channel(address) as calls,
    ):
        await direct(calls)
        assert len(await ask(calls, 60_000_000)) == 60_000_000
        assert server.ways == [OURS]


@pytest.mark.gen_test
async def test_a_refusal_comes_with_its_words(tmp_path: Path) -> None:
    server = Server()
    async with (
        serving(f"unix:{tmp_path}/s", message=server.methods) as address,
        channel(address) as calls,
    ):
        await direct(calls)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(calls, msg_id="refused")
        assert caught.value.code() is StatusCode.PERMISSION_DENIED
        assert caught.value.details() == "nicht 好"
        assert failure(caught.value).reason == "blocked"
        assert server.ways == [OURS]


@pytest.mark.gen_test
async def test_more_than_the_server_takes_at_once_goes_through_grpcio(
    tmp_path: Path,
) -> None:
    server = Server()
    async with (
        serving(f"unix:{tmp_path}/s", message=server.methods) as address,
        channel(address) as calls,
    ):
        await direct(calls)
        await asyncio.gather(*(ask(calls, msg_id="m" * 3_000_000) for _ in range(5)))
        assert set(server.ways) == {OURS, GRPCIO}


@pytest.mark.gen_test
async def test_a_call_ends_at_its_deadline_and_the_server_knows_it(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def wait(request: Any, context: Any) -> None:
        try:
            await hang(request, context)
        finally:
            ended.set()

    async with (
        serving(f"unix:{tmp_path}/s", message={"SendMessage": wait}) as address,
        channel(address) as calls,
    ):
        connection = await direct(calls)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(calls, timeout=0.05)
        assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
        await ended.wait()
        ended.clear()
        waiting = asyncio.create_task(ask(calls))
        await until(lambda: connection.under_way)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        await ended.wait()
        assert not connection.under_way


@pytest.mark.gen_test
async def test_a_server_that_stops_answers_first_and_is_connected_to_anew(tmp_path: Path) -> None:
    address, asked, let = f"unix:{tmp_path}/s", asyncio.Event(), asyncio.Event()

    async def slow(request: Any, context: Any) -> pb.SendMessageResp:
        asked.set()
        await let.wait()
        return pb.SendMessageResp(msg_id="at last")

    server = Server()
    async with channel(address) as calls:
        async with serving(address, message={"SendMessage": slow}, grace=20.0):
            first = await direct(calls)
            waiting = asyncio.create_task(ask(calls))
            await asked.wait()
            asyncio.get_running_loop().call_later(0.05, let.set)
        assert await waiting == "at last"
        assert first.closing
        async with serving(address, message=server.methods):
            assert await direct(calls) is not first
            await ask(calls)
            assert server.ways == [OURS]


@pytest.mark.gen_test
async def test_calls_fail_that_are_under_way_when_the_server_dies(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with channel(address) as calls:
        async with serving(address, message={"SendMessage": hang}):
            connection = await direct(calls)
            waiting = asyncio.create_task(ask(calls))
            await until(lambda: connection.under_way)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await waiting
        assert caught.value.code() in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
        assert calls.direct() is None


@pytest.mark.gen_test
async def test_a_channel_that_is_closed_ends_its_calls(tmp_path: Path) -> None:
    async with (
        serving(f"unix:{tmp_path}/s", message={"SendMessage": hang}) as address,
        channel(address) as calls,
    ):
        connection = await direct(calls)
        waiting = asyncio.create_task(ask(calls))
        await until(lambda: connection.under_way)
        await calls.close(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await waiting
        assert caught.value.code() is StatusCode.UNAVAILABLE


@pytest.mark.gen_test
async def test_tls_is_left_to_grpcio() -> None:
    """Nothing is said in clear to a server that is to be spoken to over TLS."""
    first: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.append(await reader.read(3))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    tls = client_tls(str(TLS / "localhost-cert.pem"), "", "", "localhost")
    async with server, channel(address, tls) as calls:
        # grpcio tries more than once; our own connection would have been made by then.
        await until(lambda: calls.is_connected() or len(first) >= 2)
        assert calls.direct() is None
    assert {said[:1] for said in first} == {b"\x16"}  # a TLS handshake; HTTP/2 begins with P


@asynccontextmanager
async def saying(data: bytes, path: Path) -> AsyncIterator[str]:
    """Serve what says the same to everyone, and then listens."""
    writers: list[asyncio.StreamWriter] = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(data)
        with suppress(ConnectionError):
            while await reader.read(1_000):
                pass
        writer.close()

    server = await asyncio.start_unix_server(say, path)
    async with server:
        yield f"unix:{path}"
    await until(lambda: all(writer.is_closing() for writer in writers))


@pytest.mark.gen_test
async def test_a_server_that_speaks_something_else_is_left_to_grpcio(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with (
            saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", tmp_path / "s") as address,
            channel(address) as calls,
        ):
            await until(lambda: calls.direct() or logs)
            assert calls.direct() is None
    assert [(entry["event"], entry["address"]) for entry in logs] == [
        ("rpc_connection_unusable", address)
    ]


@pytest.mark.gen_test
async def test_a_server_that_says_nothing_is_not_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel accepts for it, as when it stands still."""
    monkeypatch.setattr("skyeim_ws.rpc.connection.CONNECT_TIMEOUT", 0.05)
    monkeypatch.setattr("skyeim_ws.rpc.channel.RECONNECT", 0.01)
    async with saying(b"", tmp_path / "s") as address, channel(address) as calls:
        for _ in range(20):
            assert calls.direct() is None
            await asyncio.sleep(0.01)
