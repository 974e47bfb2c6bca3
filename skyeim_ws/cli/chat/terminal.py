"""One run of the chat: on a whole terminal where there is one, else line by line."""

import asyncio
import os
import sys
from collections.abc import Callable

from skyeim_ws.cli.chat.chat import Chat
from skyeim_ws.cli.chat.people import Target
from skyeim_ws.cli.chat.pipe import ANSWER_SECONDS, Plain, send_lines, stdin_lines
from skyeim_ws.cli.chat.screen import Lines, application
from skyeim_ws.client import SkyeIM

Token = str | Callable[[bool], str]


def is_terminal() -> bool:
    """Whether a person sits there: otherwise lines are read and written."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


async def run_in_terminal(url: str, user_id: int, target: Target, token: Token) -> int:
    """Chat until the user leaves, the input ends or the gateway wants no more; the exit code."""
    client = SkyeIM(url, token)
    if is_terminal():
        return await run_on_screen(client, user_id, target)
    lines, transport = await stdin_lines()
    try:
        return await run_on_pipe(client, user_id, target, lines, _print)
    finally:
        if transport is not None:
            transport.close()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def run_on_pipe(
    client: SkyeIM,
    user_id: int,
    target: Target,
    lines: asyncio.StreamReader,
    write: Callable[[str], object],
) -> int:
    """Send lines until they end; return 0 if all of them are stored, else 1."""
    chat = Chat(client, user_id, target, Plain(write), history=0)
    await chat.load()
    living = asyncio.create_task(chat.live())
    sending = asyncio.create_task(send_lines(chat, lines))
    try:
        await asyncio.wait([living, sending], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (living, sending):
            task.cancel()
        await asyncio.gather(living, sending, return_exceptions=True)
        await chat.close()
    ended = chat.over or (not living.cancelled() and living.result())
    if ended:
        write(f"✗ {ended}")
        return 1
    return sending.result()


async def run_on_screen(client: SkyeIM, user_id: int, target: Target) -> int:
    """Chat on the terminal; return 0 when the user has left and all is sent, else 1."""
    lines = Lines()
    chat = Chat(client, user_id, target, lines)
    app = application(lines, chat)
    living = asyncio.create_task(chat.live())
    living.add_done_callback(lambda _: app.is_running and app.exit())
    try:
        await app.run_async()
        if living.done():
            _print(f"✗ {living.result()}")
            return 1
        return await _leave(client)
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        await chat.close()


async def _leave(client: SkyeIM) -> int:
    """Wait for what is not sent yet, at most as long as for a pipe."""
    if client.waiting:
        _print(f"messages that are still to be sent: {client.waiting}; Ctrl-C gives them up")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await client.until_sent()
        except TimeoutError:
            _print(f"✗ messages that were not sent: {client.waiting}")
            return 1
    return 0
