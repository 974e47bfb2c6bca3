"""The load: many client connections on bare sockets and one epoll, in a process of its own.

It uses as little of the machine as Python can, and treats gateway and floors alike: how a receiver
drains its sockets changes what sending to them costs. `skyeim_ws.client` would take 40 us for a
message that takes 7 here: more than the gateway has for it, on the other core of the same machine.
"""

import gc
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.frames import TEXT, Frame, client_frame, server_frame, split, split_one

STALL = 30.0
"""Seconds without any progress after which a run has failed."""

_CONNECTING = 64
"""Connections that are being set up at a time: fewer than Tornado's backlog of 128."""

_READ_BYTES = 262_144
_NO_LINGER = struct.pack("ii", 1, 0)


class Fanout(NamedTuple):
    """What a fan-out run has seen; `frame` is the last one as it came over the wire."""

    deliveries: int
    seconds: float
    frame: bytes


class Crowd:
    """Connections in the order in which they were opened."""

    def __init__(self) -> None:
        # Nothing here makes cycles, and a collection would be taken for latency.
        gc.disable()
        self.epoll = select.epoll()
        self.sockets: list[socket.socket] = []
        # What has come of each descriptor and is not read yet: behind the opening frames, or a
        # part of a frame.
        self.held: dict[int, bytes] = {}
        self._buffer = bytearray(_READ_BYTES)
        self._messages = 0
        self.at_once = _CONNECTING

    def hurry(self, at_once: int) -> None:
        """Set up so many connections at a time from now on."""
        self.at_once = at_once

    def connect(
        self,
        port: int,
        tokens: Sequence[str],
        opening: int,
        source: str = "127.0.0.1",
        certificate: str = "",
    ) -> float:
        """Open a connection for each token, each with so many opening frames; return seconds.

        The gateway opens with `connected`, once the session is set up; a floor opens with nothing.
        With a `certificate` to trust, over TLS.
        """
        began = time.perf_counter()
        tls = ssl.create_default_context(cafile=certificate) if certificate else None
        waiting = iter(tokens)
        pending: dict[int, tuple[socket.socket, bytes]] = {}
        poll = select.epoll()
        left = len(tokens)
        with poll:
            while left:
                while len(pending) < self.at_once and (token := next(waiting, None)) is not None:
                    opened = _connect(port, token, source, tls)
                    self.sockets.append(opened)
                    pending[opened.fileno()] = opened, b""
                    poll.register(opened.fileno(), select.EPOLLIN)
                for number, _ in events(poll):
                    opened, held = pending[number]
                    held += receive(opened)
                    rest = _behind_opening(held, opening)
                    if rest is not None:
                        del pending[number]
                        self.held[number] = rest
                        poll.unregister(number)
                        self.epoll.register(number, select.EPOLLIN)
                        left -= 1
                    else:
                        pending[number] = opened, held
        return time.perf_counter() - began

    def close(self) -> None:
        """Reset all connections, so that no port stays taken for a minute."""
        for opened in self.sockets:
            self.epoll.unregister(opened.fileno())
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            opened.close()
        self.sockets.clear()
        self.held.clear()

    def fanout(self, group_id: str, content: str, rounds: int, burst: int, acks: bool) -> Fanout:
        """Have the first connection write bursts of messages to a group, all others read them.

        The next burst is sent when everybody has got the one before. All receivers get the same
        frames: one of them parses, the others only count bytes.
        """
        sender, witness = self.sockets[0], self.sockets[1]
        recv_into = {each.fileno(): each.recv_into for each in self.sockets}
        receivers = len(self.sockets) - 1
        sender_number, witness_number = sender.fileno(), witness.fileno()
        buffer = self._buffer
        if any(self.held.values()):
            raise ValueError(f"receivers were told {max(self.held.values())!r}")
        held = heard = frame = b""
        began = time.perf_counter()
        for _ in range(rounds):
            sender.sendall(b"".join(self._group_chats(group_id, content, burst)))
            unanswered = burst if acks else 0
            unseen, total, size = burst, 0, 0
            while unseen or unanswered or total < size * receivers:
                for number, _ in events(self.epoll):
                    if number == sender_number:
                        frames, heard = split(heard + receive(sender))
                        unanswered -= sum(map(_is_sent, frames))
                    elif number == witness_number:
                        data = receive(witness)
                        total += len(data)
                        size += len(data)
                        frames, held = split(held + data)
                        unseen -= sum(map(_is_group_chat, frames))
                        frame = server_frame(*frames[-1]) if frames else frame
                    else:
                        count = recv_into[number](buffer)
                        if not count:
                            raise ConnectionError("the server has closed a connection")
                        total += count
            if total != size * receivers:
                raise ValueError("receivers have got different frames")
        return Fanout(receivers * rounds * burst, time.perf_counter() - began, frame)

    def _group_chats(self, group_id: str, content: str, count: int) -> Iterator[bytes]:
        for _ in range(count):
            self._messages += 1
            data = f'"groupId":"{group_id}","content":"{content}","msgId":"g{self._messages:012d}"'
            yield client_frame(TEXT, b'{"type":"group_chat","data":{%s}}' % data.encode())


def _connect(port: int, token: str, source: str, tls: ssl.SSLContext | None) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), STALL, (source, 0))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        opened = tls.wrap_socket(opened, server_hostname="localhost")
    opened.setblocking(False)
    opened.send(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return opened


def _behind_opening(data: bytes, opening: int) -> bytes | None:
    """Return what stands behind the handshake and the opening frames; None until they have come."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(f"the handshake failed: {data[:500]!r}")
    last = b""
    for _ in range(opening):
        frame, rest = split_one(rest)
        if frame is None:
            return None
        last = frame[1]
    if opening and not last.startswith(b'{"type":"connected"'):
        raise ConnectionError(f"the first frame is missing: {data[:500]!r}")
    return rest


def events(poll: select.epoll) -> list[tuple[int, int]]:
    """Return what is ready; raises TimeoutError if nothing is for too long."""
    ready = poll.poll(STALL)
    if not ready:
        raise TimeoutError(f"nothing has come for {STALL:g} s")
    return ready


def receive(opened: socket.socket) -> bytes:
    """Read what is there; raises ConnectionError if the server has closed."""
    try:
        data = opened.recv(_READ_BYTES)
    except ssl.SSLWantReadError:  # a part of a record
        return b""
    if not data:
        raise ConnectionError("the server has closed a connection")
    return data


def _is_sent(frame: Frame) -> bool:
    """Tell that a message is stored; anything else for the sender is a failure."""
    if not (frame[1].startswith(b'{"type":"ack"') and b'"status":"sent"' in frame[1]):
        raise ValueError(f"the sender was told {frame!r}")
    return True


def _is_group_chat(frame: Frame) -> bool:
    if not frame[1].startswith(b'{"type":"group_chat"'):
        raise ValueError(f"a receiver was told {frame!r}")
    return True
