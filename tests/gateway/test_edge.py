"""Connections of which nothing has come yet."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.texts import Language
from skyeim_ws.gateway import edge
from skyeim_ws.gateway.edge import EdgeServer
from skyeim_ws.handler.cors import CrossOrigin
from skyeim_ws.handler.gate import Gate
from skyeim_ws.handler.http_application import HttpApplication
from skyeim_ws.handler.limits import CallLimit, CallsUnderWay, Handshakes, LoginLimit
from skyeim_ws.handler.remote import TrustedProxies
from tests.waiting import until


def gate() -> Gate:
    return Gate(
        proxies=TrustedProxies(),
        cross_origin=CrossOrigin.of((), otherwise_any=False),
        handshakes=Handshakes(10, 10),
        logins=LoginLimit(0, 0),
        calls=CallLimit(0, 0),
        calls_under_way=CallsUnderWay(0),
        answer_timeout=1,
        language=Language.EN,
        stats=Stats(),
        clock=asyncio.get_running_loop().time,
    )


class Served:
    """A server that takes what begins with `upgrade`, and what was left to others."""

    def __init__(self) -> None:
        self.upgraded: list[bytes] = []
        self.left: list[socket.socket] = []
        stats = Stats()
        loop = asyncio.get_running_loop()
        self.application = HttpApplication([], gate(), self._upgrade)
        poller = Poller(Flusher(loop.call_soon, stats))
        self.server = EdgeServer(self.application, poller=poller)

    def _upgrade(self, _: HttpApplication, connection: socket.socket, peer: str) -> bool:
        data = connection.recv(100, socket.MSG_PEEK)
        if data.startswith(b"upgrade"):
            self.upgraded.append(data)
            connection.close()
            return True
        return False

    def come(self, ends: tuple[socket.socket, socket.socket]) -> socket.socket:
        """Let a connection come in; return the caller's end."""
        ends[0].setblocking(False)
        self.server.handle_socket(ends[0], ("192.0.2.1", 1), lambda each, _: self.left.append(each))
        return ends[1]

    @property
    def waiting(self) -> int:
        return len(self.application.gate.handshakes)


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    served = Served()
    yield served
    await served.server.close_all_connections()
    for each in served.left:
        each.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


@pytest.mark.gen_test
async def test_it_is_served_when_it_speaks(ends: Ends) -> None:
    async with serving() as served:
        caller = served.come(ends)
        assert served.waiting == 1
        caller.sendall(b"upgrade me")
        await until(lambda: served.upgraded == [b"upgrade me"])
        assert (served.waiting, served.left) == (0, [])


@pytest.mark.gen_test
@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b""])
async def test_it_is_left_to_tornado_when_it_says_something_else(ends: Ends, said: bytes) -> None:
    """Or when it ends, which Tornado knows how to deal with."""
    async with serving() as served:
        caller = served.come(ends)
        if said:
            caller.sendall(said)
        else:
            caller.shutdown(socket.SHUT_WR)
        await until(lambda: served.left == [ends[0]])
        assert ends[0].recv(100) == said
        assert served.waiting == 0


@pytest.mark.gen_test
async def test_it_is_left_to_tornado_after_a_while(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "PATIENCE", 0.01)
    async with serving() as served:
        caller = served.come(ends)
        await until(lambda: served.left == [ends[0]])
        caller.sendall(b"upgrade me")
        await asyncio.sleep(0)
        assert (served.waiting, served.upgraded) == (0, [])


@pytest.mark.gen_test
async def test_it_is_closed_with_the_server(ends: Ends) -> None:
    async with serving() as served:
        caller = served.come(ends)
    assert caller.recv(1) == b""
    assert served.waiting == 0


@pytest.mark.gen_test
async def test_it_goes_for_who_comes(ends: Ends) -> None:
    async with serving() as served:
        served.application.gate.handshakes.resize(1, 0)
        first = served.come(ends)
        others: Any = socket.socketpair()
        with others[0], others[1]:
            served.come(others)
            assert first.recv(1) == b""
            assert served.application.gate.stats.handshakes_dropped == 1
            assert served.waiting == 1
