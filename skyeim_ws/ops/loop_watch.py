"""What holds the event loop up: the place in the code at which a turn takes too long."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from skyeim_ws.contract.timing import Timings
from skyeim_ws.ops.stacks import thread_places

INTERVAL = 0.2
"""Seconds between two looks, at most; a turn is measured to within that."""

_LEAST = 0.02

_PLACES = 6
"""Places in the code that are logged, the innermost first."""


@contextmanager
def watching(slow_after: float) -> Iterator[Timings]:
    """Give the timings of a process, in which the running loop has its own.

    Of a turn that takes `slow_after` seconds the place is logged. A thread looks where the loop is
    while it stands, since afterwards nobody can tell; it takes places in the code and no values.
    """
    timings = Timings(slow_after)
    watch = _Watch(asyncio.get_running_loop(), timings, slow_after)
    watch.turn()
    thread = threading.Thread(target=watch.run, name="loop watch", daemon=True)
    thread.start()
    try:
        yield timings
    finally:
        watch.stop()
        thread.join()
        watch.close()


class _Watch:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, timings: Timings, slow_after: float
    ) -> None:
        self._loop = loop
        self._timings = timings
        self._slow_after = slow_after
        self._interval = max(_LEAST, min(INTERVAL, slow_after / 2)) if slow_after else INTERVAL
        self._watched = threading.get_ident()
        self._turned = time.monotonic()
        self._place = ""
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._scratch = tempfile.TemporaryFile()  # noqa: SIM115 - see `close`

    def turn(self) -> None:
        """Note that the loop turns, on the loop."""
        now = time.monotonic()
        late = max(now - self._turned - self._interval, 0.0) if self._timer else 0.0
        place, self._place = self._place, ""
        self._timings.note("slow_turn", late, place=place)
        self._turned = now
        self._timer = self._loop.call_later(self._interval, self.turn)

    def run(self) -> None:
        """Look at the loop, in a thread of its own, whenever it might stand by then."""
        patience = self._interval + self._slow_after / 2
        wait = patience
        while self._slow_after and not self._ended.wait(wait):
            wait = self._turned + patience - time.monotonic()
            if wait <= 0:
                wait = self._interval
                if not self._place:
                    self._place = " < ".join(thread_places(self._watched, _PLACES, self._scratch))

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Give up what the thread has used, once it has ended."""
        self._scratch.close()
