"""What Redis says comes by a callback, in order, and its end is told once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

from skyeim_ws.store.replies import Replies
from skyeim_ws.store.shard import Shard
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until


class Heard:
    """What was heard on a connection, and why it was lost."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.faults: list[Exception] = []


@asynccontextmanager
async def heard_at(path: Path) -> AsyncIterator[tuple[Replies, Heard]]:
    connection = UnixDomainSocketConnection(path=str(path))
    await connection.connect()  # type: ignore[no-untyped-call]
    heard = Heard()
    replies = Replies(connection, heard.replies.append, heard.faults.append)
    try:
        yield replies, heard
    finally:
        replies.close()
        await connection.disconnect()  # which waits for the end of the library's own stream


@pytest.mark.gen_test
async def test_replies_come_in_order_and_errors_are_those_of_the_library(server: Server) -> None:
    async with heard_at(server.socket) as (replies, heard):
        replies.write(b"SET a 1\r\nINCR a\r\nLPUSH a x\r\nGET a\r\n")
        await until(lambda: len(heard.replies) == 4)
        done, number, refusal, value = heard.replies
        assert (done, number, value) == (b"OK", 2, b"2")
        assert isinstance(refusal, ResponseError)
        assert heard.faults == []


@pytest.mark.gen_test
async def test_a_lost_connection_is_told_once(mortal: Server) -> None:
    async with heard_at(mortal.socket) as (replies, heard):
        mortal.kill()
        await until(lambda: heard.faults)
        replies.write(b"PING\r\n")
        await asyncio.sleep(0)
        [fault] = heard.faults
        assert isinstance(fault, RedisConnectionError)
        assert replies.fault is fault


@pytest.mark.gen_test
async def test_what_is_no_reply_ends_the_connection(tmp_path: Path) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whatever the handshake asks is granted, until the first command that is none of it.
        while b"NONSENSE" not in (line := await reader.readline()):
            if line.startswith(b"*"):
                writer.write(b"+OK\r\n")
        writer.write(b":1\r\n!?\r\n")
        await reader.read()
        writer.close()

    path = tmp_path / "s"
    async with (
        await asyncio.start_unix_server(nonsense, path),
        heard_at(path) as (replies, heard),
    ):
        replies.write(b"NONSENSE\r\n")
        await until(lambda: heard.faults)
        assert heard.replies == [1]
        assert isinstance(heard.faults[0], InvalidResponse)


@pytest.mark.gen_test
async def test_a_shard_says_that_its_idle_connection_was_lost(server: Server) -> None:
    """Not a new connection, tacitly: whoever writes has to know that Redis may have forgotten."""
    async with connected(server) as other:
        redis = Redis(unix_socket_path=str(server.socket))
        shard = Shard(redis, replicated=False)
        try:
            assert await shard.send([("CLIENT", "ID")], durable=True) != []
            await other.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(RedisConnectionError):
                await shard.send([("PING",)], durable=True)
            assert await shard.send([("PING",)], durable=True) == [b"PONG"]
        finally:
            await shard.aclose()
            await redis.aclose()


@pytest.mark.gen_test
async def test_who_asks_for_nothing_gets_nothing_at_once(server: Server) -> None:
    async with pipelined(server) as pipeline:
        assert await pipeline.call_each() == []
        assert pipeline.healthy
