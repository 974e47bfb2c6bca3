"""A terminal of its own for a program: what is typed goes in, and its screen is what one sees."""

import asyncio
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pyte

from tests.waiting import DEADLINE, until


class Terminal:
    """A program in a pseudo-terminal; `screen` renders what it has written."""

    def __init__(
        self, arguments: list[str], columns: int = 80, rows: int = 24, folder: Path | None = None
    ) -> None:
        self._rows = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._rows)
        self._loop = asyncio.get_running_loop()
        self.raw = b""
        self._fd, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (rows, columns))
        # Not by a plain fork, which gRPC's threads in this process do not survive.
        self._program = subprocess.Popen(
            [sys.executable, "-m", "skyeim_ws", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1", "TZ": "UTC"},
            start_new_session=True,
            cwd=folder,
        )
        os.close(theirs)
        self._loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the program has ended
            data = b""
        if not data:
            self._loop.remove_reader(self._fd)
        self.raw += data
        self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without what is empty at the end of a line."""
        return [line.rstrip() for line in self._rows.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self._rows.columns, self._rows.lines

    def pieces(self) -> Iterator[list[tuple[int, str, Any]]]:
        """Give each line as its pieces of one style: the column, the text, the style."""
        for number in range(self._rows.lines):
            cells = [self._rows.buffer[number][column] for column in range(self._rows.columns)]
            row: list[tuple[int, str, Any]] = []
            for _, run in groupby(enumerate(cells), key=lambda each: each[1]._replace(data="")):
                same = list(run)
                row.append((same[0][0], "".join(cell.data for _, cell in same), same[0][1]))
            yield row

    def found(self, pattern: str) -> list[str]:
        """Return what a pattern finds on the screen, from the top."""
        return re.findall(pattern, self.text)

    async def type(self, text: str) -> None:
        """Type, as fast as the program reads."""
        data = text.encode()
        while data:
            data = data[os.write(self._fd, data[:1024]) :]
            await asyncio.sleep(0)

    async def enter(self, text: str) -> None:
        """Type a line."""
        await self.type(f"{text}\r")

    async def shows(self, *texts: str) -> None:
        """Wait until all of this stands on the screen."""
        try:
            await until(lambda: all(text in self.text for text in texts), DEADLINE)
        except TimeoutError:
            raise AssertionError(f"{texts} not in\n{self.text}") from None

    async def end(self) -> int:
        """Wait for the end of the program, and return its exit code."""
        await until(lambda: self._program.poll() is not None)
        return int(self._program.returncode)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._program.kill()
        self._program.wait()


@asynccontextmanager
async def terminal(
    *arguments: str, columns: int = 80, rows: int = 24, folder: Path | None = None
) -> AsyncIterator[Terminal]:
    """Run a command of the program in a terminal, in this folder."""
    made = Terminal(list(arguments), columns, rows, folder)
    try:
        yield made
    finally:
        made.close()
