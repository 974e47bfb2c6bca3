"""What a parent hears of a worker: that it is ready, alive, and how; one that hangs is killed."""

import asyncio
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from skyeim_ws.ops import systemd
from skyeim_ws.process.children import Child

PATIENCE = 15.0
"""Seconds that a worker may be silent, where systemd does not say."""

_LOOKS = 10
"""How often within its patience a parent looks.

It counts looks without a sign, and not seconds: a parent that has stood still itself has looked
once in that time.
"""

log = structlog.get_logger()


def patience() -> float:
    """Return how long a worker may be silent, in seconds.

    It is half of what systemd allows: so there is time to start the worker again before systemd
    ends all of them.
    """
    return systemd.watchdog_interval() or PATIENCE


class SignsOfLife:
    """Hears what a worker tells systemd, as it believes, by the socket `address`.

    Of a connection to the port nobody could say which worker has answered it.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.address: str = listener.getsockname()
        self._listener = listener
        self._told_ready = False
        self._watched = False
        self._silent_looks = 0
        self.status = "not ready"
        """How the worker does, in its own words."""

    @property
    def answers(self) -> bool:
        """Whether the worker is up, and was not silent for long."""
        return self._watched and self._silent_looks < _LOOKS / 2

    async def ready(self) -> bool:
        """Tell whether a worker that is being started is ready; it is watched from then on."""
        self._hear()
        self._watched, self._told_ready = self._told_ready, False
        self._silent_looks = 0
        return self._watched

    async def watch(self, worker: Child, seconds: float) -> None:
        """Kill the worker whenever it is silent for so long; does not return."""
        while True:
            await asyncio.sleep(seconds / _LOOKS)
            self._silent_looks += 1
            self._hear()
            if self._watched and self._silent_looks >= _LOOKS and worker.pid is not None:
                log.error("worker_hangs", child=worker.name, pid=worker.pid, seconds=seconds)
                self._watched = False
                worker.signal(signal.SIGKILL)

    def _hear(self) -> None:
        while True:
            try:
                said = self._listener.recv(1000)
            except BlockingIOError:
                return
            self._silent_looks = 0
            if said == systemd.READY.encode():
                self._told_ready = True
            _, found, status = said.decode().partition(systemd.STATUS)
            self.status = status if found else self.status


@contextmanager
def signs_of_life() -> Iterator[SignsOfLife]:
    """Listen for one worker."""
    with (
        # In a folder that nobody else may enter: a name in the abstract namespace is open to all.
        tempfile.TemporaryDirectory(prefix="skyeim-ws-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        listener.bind(str(Path(folder, "ready")))
        listener.setblocking(False)
        yield SignsOfLife(listener)
