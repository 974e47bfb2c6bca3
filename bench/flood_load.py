"""The load of a flood: one client that sends by the clock, and throws away what it is told."""

import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator

from bench.frames import PING, TEXT, client_frame
from bench.load import STALL, Crowd

FloodFrames = Callable[[], Iterator[bytes]]
"""Endless frames, header included, as the client writes them."""


def _texts(kind: str, data: Callable[[int], dict[str, object]]) -> FloodFrames:
    def frames() -> Iterator[bytes]:
        for number in itertools.count(1):
            text = json.dumps({"type": kind, "data": data(number)}, separators=(",", ":"))
            yield client_frame(TEXT, text.encode())

    return frames


def _again(frame: bytes) -> FloodFrames:
    return lambda: itertools.repeat(frame)


def _fragments(payload: bytes) -> FloodFrames:
    """A message that never ends."""
    first, following = client_frame(TEXT, payload), client_frame(_CONTINUATION, payload)
    not_final = 0x7F
    return lambda: itertools.chain(
        [bytes((first[0] & not_final,)) + first[1:]],
        itertools.repeat(bytes((following[0] & not_final,)) + following[1:]),
    )


_CONTINUATION = 0x0
_ASTRAL = "\U0001f642"

FLOODS: dict[str, FloodFrames] = {
    "pings": _again(client_frame(PING, b"x" * 125)),
    "fragments": _fragments(b"x"),
    "empty_fragments": _fragments(b""),
    "unknown_types": _texts("nonsense", lambda number: {"number": number}),
    "largest_chats": _texts(
        "chat", lambda number: {"toUserId": 5_000_000 + number, "content": _ASTRAL * 16_384}
    ),
    "acks": _texts("ack", lambda number: {"msgId": f"none-{number}", "status": "delivered"}),
    "acks_read": _texts("ack", lambda number: {"msgId": f"none-{number}", "status": "read"}),
    "reads": _texts("read", lambda number: {"peerId": 5_000_000 + number, "msgIds": ["none"]}),
    "group_reads": _texts("group_read", lambda number: {"groupId": f"g_{number}", "readSeq": 1}),
    "presence": _texts("presence", lambda number: {"userIds": list(range(number, number + 200))}),
    "typing_groups": _texts("typing", lambda number: {"groupId": f"g_none_{number}"}),
    "typing_strangers": _texts("typing", lambda number: {"toUserId": 5_000_000 + number}),
    "group_chat": _texts(
        "group_chat", lambda number: {"groupId": f"g_none_{number}", "content": "x"}
    ),
    "chat_strangers": _texts(
        "chat", lambda number: {"toUserId": 5_000_000 + number, "content": "x"}
    ),
}


HTTP_FLOODS = {
    "http_health": "/health",
    "http_offline": "/message/offline",
    "http_foreign_group": "/message/group/sync?groupId=g_none&seq=0",
}
"""Paths that are called, with the token of the user."""

_HTTP_CONNECTIONS = 16


class Flooder(Crowd):
    """One connection, opened by `connect`; or several that call HTTP."""

    def flood_http(self, port: int, token: str, name: str, rate: float) -> None:
        """Call until it is killed, over several connections in turn."""
        request = (
            f"GET {HTTP_FLOODS[name]} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        callers: list[socket.socket | None] = [None] * _HTTP_CONNECTIONS
        began = time.perf_counter()
        for sent in itertools.count():
            due = began + sent / rate - time.perf_counter() if rate else 0.0
            if due > 0:
                time.sleep(due)
            turn = sent % _HTTP_CONNECTIONS
            caller = callers[turn] or socket.create_connection(("127.0.0.1", port), STALL)
            try:
                if callers[turn] is not None:
                    self._read_answer(caller)
                caller.sendall(request)
                callers[turn] = caller
            except ConnectionError:  # refused and closed: it comes again
                caller.close()
                callers[turn] = None

    def _read_answer(self, caller: socket.socket) -> None:
        """Read what there is of the answer, at least its beginning."""
        if not caller.recv_into(self._buffer):
            raise ConnectionError

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
