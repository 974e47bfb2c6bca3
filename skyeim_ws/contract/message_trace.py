"""Which messages are traced, and the lines about them until these are written."""

import asyncio
import time
import zlib
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec

_ALL = 2**32

_MSG_ID = b'"msgId":"'


class Line(msgspec.Struct, frozen=True):
    """What became of a message at one place: a constant `step`, and what belongs to it.

    `number` counts the lines of this node, `at` is in monotonic seconds. `user` is whose step it
    was; 0 if nobody's.
    """

    number: int
    at: float
    msg_id: str
    step: str
    user: int
    about: dict[str, Any]


class MessageTrace:
    """Notes the steps of a sample of all messages, and of all messages of some users.

    Which ones depends on the message alone, so all nodes choose the same ones, and nothing of it
    travels with the message. Ask `on` first, everywhere: it costs no call. What is noted waits for
    whoever `take`s it; beyond `queue_size` lines it is dropped, and counted.
    """

    def __init__(self, queue_size: int = 10_000) -> None:
        self.on = False
        self.users: frozenset[int] = frozenset()
        self.dropped = 0
        self.noted = asyncio.Event()
        """Set while lines wait."""
        self._below = 0
        self._number = 0
        self._lines: deque[Line] = deque()
        self._queue_size = queue_size

    def __len__(self) -> int:
        """Count the lines that wait."""
        return len(self._lines)

    def choose(self, sampler: float, users: Iterable[int] = ()) -> None:
        """Trace this part of all messages, from 0 to 1, and all from and to these users."""
        self.users = frozenset(users)
        self._below = round(sampler * _ALL)
        self.on = bool(self.users or self._below)

    def chooses(self, msg_id: str, user: int, other: int) -> bool:
        """Tell whether a message between these users is traced."""
        if user in self.users or other in self.users:
            return True
        return zlib.crc32(msg_id.encode()) < self._below

    def note(self, step: str, msg_id: str, user: int, other: int = 0, **about: Any) -> None:
        """Note a step of a message, if it is traced; `user` and `other` are its two sides."""
        if self.chooses(msg_id, user, other):
            self.write(step, msg_id, user, **about)

    def write(self, step: str, msg_id: str, user: int, **about: Any) -> None:
        """Note a step of a message that is traced."""
        if len(self._lines) >= self._queue_size:
            self.dropped += 1
            return
        self._number += 1
        self._lines.append(Line(self._number, time.monotonic(), msg_id, step, user, about))
        self.noted.set()

    def take(self, count: int) -> list[Line]:
        """Return the oldest lines; they go on waiting until they are `written`."""
        return list(islice(self._lines, count))

    def written(self, lines: list[Line]) -> None:
        """Forget lines that `take` has returned."""
        for _ in lines:
            self._lines.popleft()
        if not self._lines:
            self.noted.clear()


def msg_id_of(frame: bytes) -> str:
    """Return the msgId of an encoded frame of ours; empty if it has none.

    Only for a message that may be traced: its frame says it, so that nobody else has to carry it.
    """
    # In front of it stands a number alone; nothing that a user wrote does.
    begin = frame.find(_MSG_ID)
    if begin < 0:
        return ""
    begin += len(_MSG_ID)
    return frame[begin : frame.find(b'"', begin)].decode()
