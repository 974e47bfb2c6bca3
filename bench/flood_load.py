"""The load of a flood: one client that sends by the clock, and reads nothing but what it must."""

import itertools
import json
import time
from collections.abc import Callable, Iterator

from bench.frames import TEXT, client_frame
from bench.load import Crowd

FloodFrames = Callable[[], Iterator[bytes]]
"""Endless frames, header included, as the client writes them."""


def _texts(kind: str, data: Callable[[int], dict[str, object]]) -> FloodFrames:
    def frames() -> Iterator[bytes]:
        for number in itertools.count(1):
            text = json.dumps({"type": kind, "data": data(number)}, separators=(",", ":"))
            yield client_frame(TEXT, text.encode())

    return frames


FLOODS: dict[str, FloodFrames] = {
    "typing_groups": _texts("typing", lambda number: {"groupId": f"g_none_{number}"}),
    "typing_strangers": _texts("typing", lambda number: {"toUserId": 5_000_000 + number}),
    "group_chat": _texts(
        "group_chat", lambda number: {"groupId": f"g_none_{number}", "content": "x"}
    ),
    "chat_strangers": _texts(
        "chat", lambda number: {"toUserId": 5_000_000 + number, "content": "x"}
    ),
}


class Flooder(Crowd):
    """One connection, opened by `connect`."""

    def flood(self, name: str, rate: float) -> None:
        """Send until it is killed; a rate of 0 is as fast as the server reads.

        What the server answers is thrown away: a client that does not read is another flood.
        """
        [opened] = self.sockets
        frames = FLOODS[name]()
        began, sent = time.perf_counter(), 0
        while True:
            due = began + sent / rate - time.perf_counter() if rate else 0.0
            if due > 0:
                time.sleep(due)
            opened.setblocking(True)
            opened.sendall(next(frames))
            sent += 1
            opened.setblocking(False)
            try:
                while opened.recv_into(self._buffer):
                    pass
            except BlockingIOError:
                continue
            raise ConnectionError(f"closed after {sent} frames")
