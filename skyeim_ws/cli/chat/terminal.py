"""The terminal client: lines of stdin become messages, frames become readable lines."""

import asyncio
import contextlib
import json
import os
import random
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    websocket_connect,
)

from skyeim_ws.cli.chat.conversation import (
    NO_RECONNECT,
    Conversation,
    Step,
    Target,
    clean,
    reconnect_delay,
)
from skyeim_ws.contract.codes import CloseCode

WINDOW = 32
"""Messages sent and not yet acknowledged; reading stdin waits at this number."""

MAX_LINE_BYTES = 1 << 20
CONNECT_SECONDS = 10.0
DRAIN_SECONDS = 10.0
CLOSE_SECONDS = 2.0
PING_SECONDS = 25.0
STABLE_SECONDS = 10.0
"""A connection that lived this long starts the backoff anew."""


@dataclass(slots=True)
class _Terminal:
    """One run of the client: a task reads lines, another keeps the connection."""

    url: str
    make_token: Callable[[], str]
    lines: asyncio.StreamReader
    write: Callable[[str], object]
    conversation: Conversation
    connection: WebSocketClientConnection | None = None
    sent_here: set[str] = field(default_factory=set)  # over the present connection
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def type(self) -> int:
        """Take lines until they end or /quit, wait for the answers; return the exit code."""
        while True:
            try:
                line = await self.lines.readline()
            except ValueError:
                self.write("✗ not sent: the line is too long")
                continue
            if not line:
                break
            await self.until_unacked(WINDOW - 1)
            step = self.conversation.typed(line.decode(errors="replace"))
            self.act(step)
            if step.quit:
                break
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.until_unacked(0)
        except TimeoutError:
            self.write(f"✗ not acknowledged: {len(self.conversation.unacked)}")
            return 1
        return 1 if self.conversation.failed else 0

    async def until_unacked(self, limit: int) -> None:
        while len(self.conversation.unacked) > limit:
            self.progress.clear()
            await self.progress.wait()

    def act(self, step: Step) -> None:
        for line in step.show:
            self.write(line)
        for frame in step.send:
            self.send(frame)
        if step.retry:
            attempts = self.conversation.unacked[step.retry].attempts
            delay = reconnect_delay(None, "", attempts, random.random())  # noqa: S311 - jitter
            asyncio.get_running_loop().call_later(delay or 0, self.retry, step.retry)
        self.flush()
        self.progress.set()

    def retry(self, msg_id: str) -> None:
        self.sent_here.discard(msg_id)
        self.flush()

    def flush(self) -> None:
        """Send what this connection has not sent yet, in the order it was typed."""
        if self.connection is None:
            return
        for msg_id, waiting in self.conversation.unacked.items():
            if msg_id not in self.sent_here:
                self.sent_here.add(msg_id)
                waiting.attempts += 1
                self.send(waiting.frame)

    def send(self, frame: str) -> None:
        """Write a frame if connected; `WINDOW` bounds what is written and not awaited."""
        if self.connection is None:
            return
        try:
            written = asyncio.ensure_future(self.connection.write_message(frame))
        except WebSocketClosedError:
            return  # the reading side sees it too, and reconnects
        written.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def stay_connected(self) -> int:
        """Connect, read, reconnect; return the exit code when it makes no sense to go on."""
        attempt = 0
        while True:
            started = time.monotonic()
            code, reason = None, ""
            try:
                code, reason = await self.connect_and_read()
            except HTTPClientError as error:
                if error.code == 401:
                    self.write("✗ the gateway refuses the token: " + clean(_message_of(error)))
                    return 1
                if 400 <= error.code < 500 and error.code not in (408, 429):
                    self.write(f"✗ the gateway refuses: HTTP {error.code}")
                    return 1
                reason = f"HTTP {error.code}"
            except (OSError, WebSocketError) as error:
                reason = str(error) or type(error).__name__
            if time.monotonic() - started > STABLE_SECONDS:
                attempt = 0
            delay = reconnect_delay(code, reason, attempt, random.random())  # noqa: S311 - jitter
            if delay is None:
                self.write(f"✗ closed with {code}: {NO_RECONNECT[CloseCode(code or 0)]}")
                return 1
            what = " ".join(filter(None, [str(code or ""), clean(reason)])) or "connection lost"
            self.write(f"* {what}; reconnecting in {delay:.1f} s")
            attempt += 1
            await asyncio.sleep(delay)

    async def connect_and_read(self) -> tuple[int | None, str]:
        """Hold one connection until it closes; return close code and reason."""
        url = self.url
        if self.conversation.last_id:
            url += f"{'&' if '?' in url else '?'}resume={self.conversation.last_id}"
        request = HTTPRequest(
            url,
            headers={"Authorization": f"Bearer {self.make_token()}"},
            connect_timeout=CONNECT_SECONDS,
            request_timeout=CONNECT_SECONDS,
        )
        connection = await _connect(request)
        closed = False
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                message = await connection.read_message()
            self.sent_here.clear()
            self.connection = connection
            while message is not None:
                self.act(self.conversation.received(message))
                message = await connection.read_message()
            closed = True
            return connection.close_code, connection.close_reason or ""
        finally:
            self.connection = None
            await _close(connection, already=closed)


async def _connect(request: HTTPRequest) -> WebSocketClientConnection:
    connecting = asyncio.ensure_future(
        websocket_connect(request, ping_interval=PING_SECONDS, ping_timeout=PING_SECONDS)
    )
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # Tornado cannot give up a connection that is half made: finish it, then close it.
        with contextlib.suppress(OSError, HTTPClientError, WebSocketError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await _close(await connecting)
        raise


async def _close(connection: WebSocketClientConnection, *, already: bool = False) -> None:
    connection.close(CloseCode.NORMAL)  # also after the other side has closed: it frees the socket
    if already:  # reading would wait for ever
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            while await connection.read_message() is not None:
                pass


def _message_of(error: HTTPClientError) -> str:
    try:
        return str(json.loads(error.response.body)["message"]) if error.response else ""
    except (ValueError, TypeError, KeyError):
        return error.message


async def run(
    url: str,
    target: Target,
    make_token: Callable[[], str],
    lines: asyncio.StreamReader,
    write: Callable[[str], object],
) -> int:
    """Chat until the lines end, or /quit, or the gateway wants no more; return the exit code.

    `make_token` is asked before each connection. At the end of the lines the client waits for the
    answers that are missing, at most `DRAIN_SECONDS`.
    """
    terminal = _Terminal(url, make_token, lines, write, Conversation(target))
    tasks = [
        asyncio.create_task(terminal.type()),
        asyncio.create_task(terminal.stay_connected()),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return max(task.result() for task in done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run_in_terminal(url: str, target: Target, make_token: Callable[[], str]) -> int:
    """Chat over stdin and stdout; return the exit code."""
    colors = sys.stdout.isatty()

    def write(line: str) -> None:
        dim = colors and line.startswith("* ")
        sys.stdout.write(f"\x1b[2m{line}\x1b[0m\n" if dim else f"{line}\n")
        sys.stdout.flush()

    lines, transport = await _stdin_lines()
    try:
        return await run(url, target, make_token, lines, write)
    finally:
        if transport is not None:
            transport.close()


async def _stdin_lines() -> tuple[asyncio.StreamReader, asyncio.ReadTransport | None]:
    lines = asyncio.StreamReader(limit=MAX_LINE_BYTES)
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
