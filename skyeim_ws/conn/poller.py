"""The sockets of all clients in one epoll, which is a single descriptor to the event loop.

The loop makes a handle and a callback for each socket that is ready, and asks the kernel again
before it lets out what they have led to. Here one callback reads them all, then flushes.
"""

import asyncio
import select
from collections.abc import Callable

from skyeim_ws.conn.flusher import Flusher

MAX_EVENTS = 512
"""Sockets that are looked at before the loop goes on with other work."""


class Poller:
    """Calls the handler of each socket that is ready, with the events as of `select.epoll`.

    Make it on the running loop, which knows of it while there are sockets.
    """

    def __init__(self, flusher: Flusher) -> None:
        self._flusher = flusher
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in a turn of its own."""
        self._loop.call_soon(callback)

    def watch(self, number: int, events: int, handler: Callable[[int], None]) -> None:
        """Watch a descriptor for these events instead of those before; 0 is none."""
        known = number in self._handlers
        if not events:
            if known:
                self.forget(number)
            return
        if not self._handlers:
            self._loop.add_reader(self._epoll, self._ready)
        self._handlers[number] = handler
        if known:
            self._epoll.modify(number, events)
        else:
            self._epoll.register(number, events)

    def forget(self, number: int) -> None:
        """Watch a descriptor no more; do this before it is closed."""
        if self._handlers.pop(number, None) is not None:
            self._epoll.unregister(number)
            if not self._handlers:
                self._loop.remove_reader(self._epoll)

    def _ready(self) -> None:
        with self._flusher:
            for number, events in self._epoll.poll(0, MAX_EVENTS):
                handler = self._handlers.get(number)
                if handler is None:  # one before it has closed it
                    continue
                try:
                    handler(events)
                except Exception as error:  # a fault with one must not cost the others their turn
                    self._loop.call_exception_handler(
                        {"message": "a socket could not be handled", "exception": error}
                    )
