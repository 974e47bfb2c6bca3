"""Many sockets in one epoll: each handled in its turn, and all written at the end of it."""

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.stats import Stats
from tests.waiting import until


class Rig:
    """A poller, pairs of sockets, and how often was flushed by a callback of the loop."""

    def __init__(self) -> None:
        self.callbacks = 0
        self.flusher = Flusher(self._call_soon, Stats())
        self.poller = Poller(self.flusher)
        self.sockets: list[socket.socket] = []

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self.callbacks += 1
        asyncio.get_running_loop().call_soon(callback)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.sockets += [ours, theirs]
        return ours, theirs


@contextmanager
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        yield made
    finally:
        for each in made.sockets:
            made.poller.forget(each.fileno())
            each.close()


class Written:
    """A receiver that notes when it was written to."""

    user_id = 1
    acks_due = 0
    direct = None

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def write_queued(self) -> None:
        self.notes.append("written")


@pytest.mark.gen_test
async def test_what_is_read_in_a_turn_leaves_at_its_end_without_a_callback() -> None:
    with rig() as made:
        notes: list[str] = []

        def read(ours: socket.socket) -> Callable[[int], None]:
            def handle(events: int) -> None:
                assert events == select.EPOLLIN
                notes.append(ours.recv(10).decode())
                made.flusher.add(Written(notes))  # type: ignore[arg-type]

            return handle

        for text in (b"a", b"b"):
            ours, theirs = made.pair()
            made.poller.watch(ours.fileno(), select.EPOLLIN, read(ours))
            theirs.send(text)
        await until(lambda: len(notes) == 4)
        assert sorted(notes[:2]) == ["a", "b"]
        assert notes[2:] == ["written", "written"]
        assert made.callbacks == 0


@pytest.mark.gen_test
async def test_one_that_closes_another_is_the_last_to_hear_of_it() -> None:
    with rig() as made:
        (one, far), (two, away) = made.pair(), made.pair()
        heard: list[int] = []

        def closes(own: socket.socket, other: socket.socket) -> Callable[[int], None]:
            def handle(_: int) -> None:
                heard.append(own.recv(1)[0])
                made.poller.forget(other.fileno())

            return handle

        made.poller.watch(one.fileno(), select.EPOLLIN, closes(one, two))
        made.poller.watch(two.fileno(), select.EPOLLIN, closes(two, one))
        far.send(b"x")
        away.send(b"x")
        await until(lambda: heard)
        await asyncio.sleep(0)
        assert len(heard) == 1


@pytest.mark.gen_test
async def test_a_fault_with_one_does_not_cost_the_others_their_turn() -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    with rig() as made:
        (one, far), (two, away) = made.pair(), made.pair()
        heard: list[int] = []

        def fails(_: int) -> None:
            one.recv(1)
            raise ValueError("a fault")

        made.poller.watch(one.fileno(), select.EPOLLIN, fails)
        made.poller.watch(two.fileno(), select.EPOLLIN, lambda _: heard.append(two.recv(1)[0]))
        far.send(b"x")
        away.send(b"y")
        await until(lambda: heard and faults)
        assert [str(context["exception"]) for context in faults] == ["a fault"]


@pytest.mark.gen_test
async def test_what_is_wanted_of_a_socket_may_change() -> None:
    with rig() as made:
        ours, theirs = made.pair()
        seen: list[int] = []

        def handle(events: int) -> None:
            seen.append(events)
            made.poller.watch(ours.fileno(), 0, handle)

        made.poller.watch(ours.fileno(), 0, handle)
        theirs.send(b"x")
        made.poller.watch(ours.fileno(), select.EPOLLOUT, handle)
        await until(lambda: seen)
        assert seen == [select.EPOLLOUT]
        made.poller.watch(ours.fileno(), select.EPOLLIN, handle)
        await until(lambda: len(seen) == 2)
        theirs.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == [select.EPOLLOUT, select.EPOLLIN]  # it is not wanted that the other has gone


@pytest.mark.gen_test
async def test_what_is_left_for_the_end_of_a_turn_comes_before_the_writing() -> None:
    with rig() as made:
        notes: list[str] = []
        receiver: Any = Written(notes)

        def work() -> None:
            notes.append("worked")
            made.flusher.add(receiver)

        with made.flusher:
            made.flusher.add(receiver)
            made.flusher.at_end(work)
            assert notes == []
        assert notes == ["worked", "written", "written"]
        assert made.callbacks == 0
        made.flusher.at_end(work)
        await until(lambda: len(notes) == 5)
        assert (notes[3:], made.callbacks) == (["worked", "written"], 1)
        with made.flusher:
            made.flusher.at_end(lambda: made.flusher.at_end(work))
        assert (notes[5:], made.callbacks) == (["worked", "written"], 1)
