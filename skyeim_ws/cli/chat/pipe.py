"""Lines of a pipe or a file: each is sent, and the end waits until all of them are stored."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from skyeim_ws.cli.chat.chat import Chat
from skyeim_ws.cli.chat.lines import Line, Tick

WINDOW = 32
"""Messages without an answer; reading waits at this number."""

LONGEST_LINE = 1 << 20
"""Bytes; far more than a message may have."""

ANSWER_SECONDS = 10.0
"""After so long without any answer the rest counts as not sent."""


@dataclass(slots=True)
class Plain:
    """Writes each line once: those of others at once, ours when it is known what became of them."""

    write: Callable[[str], object]
    _under_way: set[Line] = field(default_factory=set)

    def add(self, line: Line) -> None:
        """Write a line, unless it is still under way."""
        if line.tick is Tick.WAITING:
            self._under_way.add(line)
        else:
            self.write(str(line))

    def insert(self, line: Line) -> None:
        """Write a message of somebody else."""
        self.add(line)

    def changed(self, line: Line | None = None) -> None:
        """Write a message of ours that is stored, or was refused."""
        if line in self._under_way:
            self._under_way.remove(line)
            self.write(str(line))


async def send_lines(chat: Chat, lines: asyncio.StreamReader) -> int:
    """Send each line; return 0 if all of them are stored, else 1."""
    under_way: set[asyncio.Future[Any]] = set()
    while True:
        try:
            line = await lines.readline()
        except ValueError:
            chat.too_long()
            continue
        if not line:
            break
        text = line.decode(errors="replace").removesuffix("\n").removesuffix("\r")
        sent = chat.send(text) if text.strip() else None
        if sent is not None:
            under_way.add(sent)
        if len(under_way) >= WINDOW and not await _answered(under_way, WINDOW - 1):
            break
    await _answered(under_way, 0)
    return 1 if under_way or chat.failed else 0


async def _answered(under_way: set[asyncio.Future[Any]], left: int) -> bool:
    """Wait until at most so many are without an answer; return False where none comes any more."""
    while len(under_way) > left:
        done, _ = await asyncio.wait(
            under_way, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            return False
        under_way -= done
    return True


async def stdin_lines() -> tuple[asyncio.StreamReader, asyncio.ReadTransport | None]:
    """Return the lines of stdin, whatever it is."""
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    fd = sys.stdin.fileno()
    mode = os.fstat(fd).st_mode
    if os.isatty(fd):
        # A terminal opened anew: making stdin non-blocking would make stdout so too, for they
        # share one open file description.
        fd = os.open(os.ttyname(fd), os.O_RDONLY | os.O_NOCTTY)
    elif stat.S_ISREG(mode) or stat.S_ISCHR(mode):  # a file or /dev/null: epoll takes neither
        lines.feed_data(sys.stdin.buffer.read())
        lines.feed_eof()
        return lines, None
    else:
        fd = os.dup(fd)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(fd, "rb", buffering=0)
    )
    return lines, transport
