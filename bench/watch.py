"""A single client whose pings show how long the loop of a server is held up."""

import time

from bench.frames import TEXT, Frame, client_frame, split
from bench.load import Crowd, receive

_PAUSE = 0.002
_PING = client_frame(TEXT, b'{"type":"ping","data":{}}')


class Watch(Crowd):
    """One connection."""

    def pongs(self, seconds: float) -> float:
        """Send ping after ping for a while; return the longest time until a pong."""
        [opened] = self.sockets
        longest, until = 0.0, time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            opened.sendall(_PING)
            frames: list[Frame] = []
            rest = b""
            while not frames:
                self.epoll.poll()
                frames, rest = split(rest + receive(opened))
            if any(not text.startswith(b'{"type":"pong"') for _, text in frames):
                raise ValueError(f"a client that only pings was told {frames!r}")
            longest = max(longest, time.perf_counter() - began)
            time.sleep(_PAUSE)
        return longest
