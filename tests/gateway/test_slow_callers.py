"""Callers over HTTP who send slowly, or read nothing of what they have asked for."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.http_raw import ask
from tests.waiting import until_async
from tests.world import World

CONTENT = "\U0001f600" * 16384
UNREAD = 80
"""Messages of 64 KiB whose list is more than the kernel takes of an answer that nobody reads."""


@contextmanager
def caller(world: World, head: str, *, body: bytes = b"", length: int = 0) -> Iterator[None]:
    """A call of user 1001 that reads nothing, and sends no more than this of its body."""
    lines = [head, "Host: localhost", f"Authorization: Bearer {world.token(1001)}"]
    lines += [f"Content-Length: {length}"] if length else []
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", world.port))
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        yield


async def answers(world: World, status: int) -> bool:
    """Whether another call of user 1001 gets this status."""
    answer = await ask(world, "GET /message/unread/count HTTP/1.1", user_id=1001)
    return answer.status == status


@pytest.mark.gen_test
async def test_an_answer_that_nobody_reads_does_not_stay_in_memory(make_world: MakeWorld) -> None:
    async with make_world(answer_timeout=2, calls_at_once=1, call_rate=0) as world:
        alice = await world.login(1001)
        for number in range(UNREAD):
            await alice.chat(1002, CONTENT, msgId=f"big{number}")
        with caller(world, "GET /message/history?peerId=1002&limit=500 HTTP/1.1"):
            await until_async(lambda: answers(world, 429))
            await until_async(lambda: answers(world, 200))


@pytest.mark.gen_test
async def test_calls_of_a_user_that_are_not_over_are_bounded(make_world: MakeWorld) -> None:
    async with make_world(calls_at_once=2, call_rate=0) as world:
        head = "POST /message/read HTTP/1.1"
        with caller(world, head, length=1000):
            with caller(world, head, body=b"{", length=1000):
                await until_async(lambda: answers(world, 429))
                limited = world.gateway.stats.calls_limited
                refused = await ask(world, "GET /message/unread/count HTTP/1.1", user_id=1001)
                assert (refused.status, refused.json["code"]) == (429, 30009)
                assert refused.json["retry_after_ms"] == 1_000
                assert world.gateway.stats.calls_limited == limited + 1
                answer = await ask(world, "GET /message/unread/count HTTP/1.1", user_id=1002)
                assert answer.status == 200
            await until_async(lambda: answers(world, 200))
        # Who has gone before the answer, or was refused, holds nothing.
        for _ in range(3):
            await until_async(lambda: answers(world, 200))
