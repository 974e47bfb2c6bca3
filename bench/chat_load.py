"""The load of private chat, echo and silence: connections that read what they get, and answer."""

import select
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.frames import CLOSE, PING, PONG, TEXT, Frame, client_frame, header, split
from bench.load import Crowd, events, receive

_DIGITS = 12
_MSG_ID = b'"msgId":"p'
_MESSAGE = b'{"type":"chat"', b'{"type":"group_chat"'
_PRESENCE = b'{"type":"online"'
"""Friends are told of a login when their node has come to it, and that may be later."""


class Chat(NamedTuple):
    """What a run has seen; `latencies` in seconds, of an open loop only."""

    messages: int
    seconds: float
    latencies: Sequence[float] = ()


class _Left:
    """What is still to come in a run: messages, and each of the two acks for them."""

    def __init__(self, messages: int, receivers: int = 1, receipts: bool = True) -> None:
        self.stored = messages
        self.arrivals = messages * receivers
        self.delivered = messages if receipts else 0

    def __bool__(self) -> bool:
        return self.arrivals > 0 or self.stored > 0 or self.delivered > 0


class Chatters(Crowd):
    """Connections in pairs, those at 2n and 2n + 1, or in groups of neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self._receivers = 1
        self._heads: list[bytes] = []
        self._tail = b""
        self._next = 0
        self._places: dict[int, int] = {}
        """The place of each file descriptor."""

    def introduce(self, user_ids: Sequence[int], content: str) -> None:
        """Say who the connections are, and what they will say to the other of their pair."""
        self._receivers = 1
        self._write_heads(
            content,
            [
                b'{"type":"chat","data":{"toUserId":%d,' % user_ids[n ^ 1]
                for n in range(len(user_ids))
            ],
        )

    def introduce_halves(self, user_ids: Sequence[int], content: str) -> None:
        """Say the same where each of the first half is in a pair with one of the second half."""
        self._receivers = 1
        half = len(user_ids) // 2
        peers = [*user_ids[half:], *user_ids[:half]]
        self._write_heads(content, [b'{"type":"chat","data":{"toUserId":%d,' % u for u in peers])

    def introduce_groups(self, group_ids: Sequence[str], size: int, content: str) -> None:
        """Say of which group each run of `size` connections is, and what they will say to it."""
        self._receivers = size - 1
        heads = [b'{"type":"group_chat","data":{"groupId":"%b",' % i.encode() for i in group_ids]
        self._write_heads(content, [head for head in heads for _ in range(size)])

    def _write_heads(self, content: str, heads: Sequence[bytes]) -> None:
        self._places = {each.fileno(): place for place, each in enumerate(self.sockets)}
        self._tail = f'","content":"{content}"}}}}'.encode()
        starts = [head + _MSG_ID for head in heads]
        self._heads = [
            header(TEXT, len(start) + _DIGITS + len(self._tail)) + start for start in starts
        ]

    def ignore(self, seconds: float) -> None:
        """Read whatever comes for a while, such as who has come online; only pings are answered."""
        for number, data in self.held.items():
            frames, self.held[number] = split(data)
            for frame in frames:
                self._is_answered(number, frame)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for number, _ in self.epoll.poll(left):
                for frame in self._frames(number):
                    self._is_answered(number, frame)

    def hear(self, seconds: float) -> tuple[int, int]:
        """Read the news of friends until nothing has come for a while.

        Returns how many came, and how often somebody was told the same.
        """
        told: Counter[tuple[int, bytes]] = Counter()

        def hear(number: int, frames: Sequence[Frame]) -> None:
            for frame in frames:
                if not self._is_answered(number, frame) and frame[1].startswith(_PRESENCE):
                    told[number, frame[1].partition(b'"timestamp"')[0]] += 1

        self._places = {each.fileno(): place for place, each in enumerate(self.sockets)}
        for number, data in self.held.items():
            frames, self.held[number] = split(data)
            hear(number, frames)
        while ready := self.epoll.poll(seconds):
            for number, _ in ready:
                hear(number, self._frames(number))
        return told.total(), max(told.values(), default=0)

    def chat(self, messages: int) -> Chat:
        """Have all pairs chat, each with one message on its way: who gets it sends the next.

        Ends when each message has arrived and both acks have come.
        """
        left, unsent = _Left(messages), messages

        def answer(place: int, _message: bytes) -> None:
            nonlocal unsent
            if unsent:
                unsent -= 1
                self._say(place)

        began = arrival = time.perf_counter()
        for place in range(0, min(len(self.sockets), 2 * messages), 2):
            answer(place, b"")
        while left:
            arriving = left.arrivals > 0
            self._look(events(self.epoll), left, answer)
            if arriving:
                # The last `delivered` comes half a second later: time in which nothing is sent.
                arrival = time.perf_counter()
        return Chat(messages, arrival - began)

    def chat_at(self, rate: float, seconds: float) -> Chat:
        """Send by the clock, whatever comes back; latencies count from when a send was due.

        So a server that stands still is charged with all that should have been sent meanwhile.
        """
        messages = int(rate * seconds)
        # Of a group message nobody is told who has got it.
        left = _Left(messages, self._receivers, receipts=self._receivers == 1)

        def look(ready: Sequence[tuple[int, int]], note: Callable[[bytes], None]) -> bool:
            self._look(ready, left, lambda _place, message: note(message))
            return bool(left)

        return self._paced(rate, messages, look)

    def echo_at(self, rate: float, seconds: float) -> Chat:
        """Send by the clock what `chat_at` would send to a server that sends it back."""
        left = messages = int(rate * seconds)

        def look(ready: Sequence[tuple[int, int]], note: Callable[[bytes], None]) -> bool:
            nonlocal left
            for number, _ in ready:
                for _, text in self._frames(number):
                    left -= 1
                    note(text)
            return left > 0

        return self._paced(rate, messages, look)

    def _paced(
        self,
        rate: float,
        messages: int,
        look: Callable[[Sequence[tuple[int, int]], Callable[[bytes], None]], bool],
    ) -> Chat:
        """Send by the clock; `look` reads what has come, and tells if there is more to come."""
        first, sent, latencies = self._next, 0, array("d", bytes(8 * messages))
        began = time.perf_counter()

        def note(message: bytes) -> None:
            at = message.index(_MSG_ID) + len(_MSG_ID)
            number = int(message[at : at + _DIGITS]) - first
            latencies[number] = time.perf_counter() - began - number / rate

        more = True
        while more:
            while sent < messages and sent / rate <= time.perf_counter() - began:
                self._say(sent % len(self.sockets))
                sent += 1
            due = began + sent / rate - time.perf_counter()
            # An epoll waits for whole milliseconds, a select, which sees the epoll, does not.
            if sent < messages:
                select.select([self.epoll], [], [], max(due, 0.0))
                more = look(self.epoll.poll(0), note)
            else:
                more = look(events(self.epoll), note)
        return Chat(messages, messages / rate, latencies)

    def echo(self, messages: int) -> Chat:
        """Have as many connections as there are pairs send a message each, and again when it came.

        What they send is what they would send in `chat`.
        """
        left, unsent = messages, messages
        began = time.perf_counter()
        for place in range(0, min(len(self.sockets), 2 * messages), 2):
            unsent -= 1
            self._say(place)
        while left:
            for number, _ in events(self.epoll):
                for _ in self._frames(number):
                    left -= 1
                    if unsent:
                        unsent -= 1
                        self._say(self._places[number])
        return Chat(messages, time.perf_counter() - began)

    def idle(self, seconds: float) -> int:
        """Answer pings for a while, and return how many came; nothing else may."""
        pings = 0
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for number, _ in self.epoll.poll(left):
                for frame in self._frames(number):
                    if frame[1].startswith(_PRESENCE):
                        continue
                    if not self._is_answered(number, frame):
                        raise ValueError(f"an idle connection was told {frame[1]!r}")
                    pings += 1
        return pings

    def leave(self) -> float:
        """Answer the close frames of a server that stops, until all are closed; return seconds."""
        began = time.perf_counter()
        while self._places:
            for number, _ in self.epoll.poll():
                opened = self.sockets[self._places[number]]
                try:
                    frames, self.held[number] = split(self.held[number] + receive(opened))
                except ConnectionError:
                    self.epoll.unregister(number)
                    del self._places[number]
                    opened.close()
                    continue
                for opcode, payload in frames:
                    if opcode == CLOSE:
                        opened.sendall(client_frame(CLOSE, payload[:2]))
        self.sockets.clear()
        self.held.clear()
        return time.perf_counter() - began

    def _look(
        self,
        ready: Sequence[tuple[int, int]],
        left: _Left,
        arrived: Callable[[int, bytes], None],
    ) -> None:
        """Read what has come; `arrived` is told the place and the text of each message."""
        for number, _ in ready:
            for frame in self._frames(number):
                text = frame[1]
                if self._is_answered(number, frame) or text.startswith(_PRESENCE):
                    continue
                if text.startswith(_MESSAGE):
                    left.arrivals -= 1
                    arrived(self._places[number], text)
                elif not text.startswith(b'{"type":"ack"'):
                    raise ValueError(f"a chatting connection was told {text!r}")
                elif b'"status":"sent"' in text:
                    left.stored -= 1
                elif b'"status":"delivered"' in text:
                    left.delivered -= 1
                else:
                    raise ValueError(f"a message has failed: {text!r}")

    def _is_answered(self, number: int, frame: Frame) -> bool:
        """Answer a ping, in a write of its own, as a library below the client does it."""
        opcode, payload = frame
        if opcode == PING:
            self.sockets[self._places[number]].sendall(client_frame(PONG, payload))
        return opcode == PING

    def _frames(self, number: int) -> list[Frame]:
        data = receive(self.sockets[self._places[number]])
        frames, self.held[number] = split(self.held[number] + data)
        for opcode, payload in frames:
            if opcode == CLOSE:
                raise ConnectionError(f"the server closes a connection: {payload!r}")
        return frames

    def _say(self, place: int) -> None:
        text = b"%b%0*d%b" % (self._heads[place], _DIGITS, self._next, self._tail)
        self._next += 1
        self.sockets[place].sendall(text)
