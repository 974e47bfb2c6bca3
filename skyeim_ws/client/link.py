"""One WebSocket connection: frames in and out, and how it ended."""

import asyncio
import contextlib
import json
import ssl as tls
from collections.abc import Callable
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from skyeim_ws.client.rules import ABNORMAL
from skyeim_ws.contract.codes import CloseCode

CLOSE_SECONDS = 2.0
"""How long the end of a connection may take."""

LARGEST_FRAME = 1 << 21
"""Bytes; business events have up to a MiB of `data`."""


@dataclass(slots=True, eq=False)
class Link:
    """A connection to `url`; `received` takes its frames, `ended` a close code and its reason.

    Where the handshake was refused, the code is the HTTP status.
    """

    url: str
    token: str
    ssl: tls.SSLContext | None
    received: Callable[[str], None]
    ended: Callable[[int, str], None]
    _outgoing: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    _task: asyncio.Task[None] | None = None
    _connected: bool = False
    _dropped: bool = False

    def open(self) -> asyncio.Task[None]:
        """Start; the task ends with the connection."""
        self._task = asyncio.create_task(self._live())
        return self._task

    def write(self, text: str) -> None:
        """Write a frame behind those before it; the core keeps what must not be lost."""
        self._outgoing.put_nowait(text)

    def drop(self) -> None:
        """Write what is left, close, and call nobody any more."""
        self._dropped = True
        self._outgoing.put_nowait(None)
        if self._task is not None:
            grace = CLOSE_SECONDS if self._connected else 0.0
            asyncio.get_running_loop().call_later(grace, self._task.cancel)

    async def _live(self) -> None:
        code, reason = int(ABNORMAL), ""
        try:
            async with connect(
                self.url,
                additional_headers={"Authorization": f"Bearer {self.token}"},
                ssl=self.ssl,
                compression=None,
                ping_interval=None,  # the core pings, and has a deadline for it
                open_timeout=None,
                close_timeout=CLOSE_SECONDS,
                max_size=LARGEST_FRAME,
            ) as socket:
                self._connected = True
                await self._exchange(socket)
                code, reason = socket.close_code or ABNORMAL, socket.close_reason or ""
        except InvalidStatus as refused:
            code, reason = refused.response.status_code, _told(refused.response.body)
        except Exception as error:  # what a network does, or a proxy or a token that is none
            reason = str(error) or type(error).__name__
        finally:
            if not self._dropped:
                self.ended(code, reason)

    async def _exchange(self, socket: ClientConnection) -> None:
        writer = asyncio.create_task(self._write_all(socket))
        try:
            async for text in socket:
                if not self._dropped and isinstance(text, str):
                    self.received(text)
        except ConnectionClosed:
            pass  # `socket` knows how
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write_all(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while (text := await self._outgoing.get()) is not None:
                await socket.send(text)
        await socket.close(CloseCode.NORMAL)


def _told(body: bytes | bytearray) -> str:
    """Return the reason of an HTTP answer in the form of a close: when to come back, or words."""
    try:
        answer = json.loads(body)
        if "retry_after_ms" in answer:
            return f"retry_after_ms={int(answer['retry_after_ms'])}"
        return str(answer["message"])
    except (ValueError, LookupError, TypeError):
        return ""
