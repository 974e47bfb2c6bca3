"""The traces of messages: one bounded stream of all nodes, written in batches."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.message_trace import Line, MessageTrace
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.shard import Command

STREAM_KEY = "ws:traces"

KEPT_SECONDS = 7 * 86_400
"""How long the stream outlives its last line."""

_FIELD = b"l"
_TOGETHER = 100
"""Lines in one write: the messages of users share it."""

_GATHER_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_PAGE = 1_000

log = structlog.get_logger()


class _Entry(msgspec.Struct, rename="camel", omit_defaults=True):
    """A line in the stream; it was noted `ago` seconds before it was written.

    So its time is told by the clock of Redis, one for all nodes.
    """

    msg_id: str
    node: str
    number: int
    ago: float
    step: str
    user: int = 0
    about: dict[str, Any] = {}


class TraceLine(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a message: when (Unix seconds), on which node, and how."""

    at: float
    node: str
    step: str
    user: int
    about: dict[str, Any]


_decoder = msgspec.json.Decoder(_Entry)


class RedisTraces:
    """Writes what a node notes of messages; the stream keeps about `size` lines of all nodes.

    Nobody waits for it: while Redis is away the lines wait, as many as the trace holds.
    """

    def __init__(self, pipeline: Pipeline, node: str, trace: MessageTrace, *, size: int) -> None:
        self.count = 0
        self._pipeline = pipeline
        self._node = node
        self._trace = trace
        self._size = size
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Count the lines that are not written yet."""
        return len(self._trace)

    @property
    def dropped(self) -> int:
        """Count the lines that found no room."""
        return self._trace.dropped

    def start(self) -> asyncio.Task[None]:
        """Begin to write; return the task, which ends at `close` alone, or by a fault."""
        self._task = asyncio.create_task(self._run())
        return self._task

    async def close(self) -> None:
        """Stop; what still waits is written if Redis takes it at once."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        with contextlib.suppress(Unavailable):
            while len(self._trace):
                await self._write()

    async def _run(self) -> None:
        while True:
            await self._trace.noted.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            try:
                while len(self._trace):
                    await self._write()
            except Unavailable as error:
                log.debug("message_trace_waits", error=str(error), lines=len(self._trace))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _write(self) -> None:
        lines = self._trace.take(_TOGETHER)
        await self._pipeline.call(
            *map(self._added, lines),
            ("XTRIM", STREAM_KEY, "MAXLEN", "~", self._size),
            ("EXPIRE", STREAM_KEY, KEPT_SECONDS),
        )
        self._trace.written(lines)
        self.count += len(lines)

    def _added(self, line: Line) -> Command:
        ago = round(time.monotonic() - line.at, 4)
        entry = _Entry(line.msg_id, self._node, line.number, ago, line.step, line.user, line.about)
        return ("XADD", STREAM_KEY, "*", _FIELD, msgspec.json.encode(entry))


async def read(
    ask: Callable[[Command], Awaitable[Any]], msg_id: str
) -> tuple[list[TraceLine], int]:
    """Return the lines about a message in the order of time, and how many lines there are."""
    wanted = msgspec.json.encode(msg_id)
    found: dict[tuple[str, int], TraceLine] = {}
    seen = 0
    async for name, value in _entries(ask):
        seen += 1
        if wanted in value and (entry := _decoder.decode(value)).msg_id == msg_id:
            at = int(name.split(b"-")[0]) / 1000 - entry.ago
            line = TraceLine(round(at, 3), entry.node, entry.step, entry.user, entry.about)
            # A write that was repeated has left two of the same number.
            found.setdefault((entry.node, entry.number), line)
    numbered = sorted(found.items(), key=lambda each: (each[1].at, each[0][1]))
    return [line for _, line in numbered], seen


async def _entries(
    ask: Callable[[Command], Awaitable[Any]],
) -> AsyncIterator[tuple[bytes, bytes]]:
    begin: bytes | str = "-"
    while True:
        page = await ask(("XRANGE", STREAM_KEY, begin, "+", "COUNT", _PAGE))
        for name, fields in page:
            yield name, fields[1]
        if len(page) < _PAGE:
            return
        millis, _, number = page[-1][0].partition(b"-")
        begin = b"%s-%d" % (millis, int(number) + 1)
