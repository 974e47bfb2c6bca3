"""What systemd wants to hear: ready, alive and how it goes, stopping (see sd_notify(3))."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger()

READY = "READY=1"
STOPPING = "STOPPING=1"
RELOADING = "RELOADING=1"
ALIVE = "WATCHDOG=1"
STATUS = "STATUS="
"""The status follows."""

_STATUS_SECONDS = 5.0
"""How often the status is told: it is what `systemctl status` shows."""

AGAIN_SECONDS = 1.0
"""Until READY is said again, if it was not heard."""

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"

UNHEARD = {SOCKET_VARIABLE: "", WATCHDOG_VARIABLE: ""}
"""The environment of a child that has nothing to tell systemd."""


def notify(state: str) -> bool:
    """Tell systemd about a state; nothing happens where systemd does not listen.

    Never waits and never raises: a service runs on although nobody listens. False if it may be
    worth another try: systemd is busy, and its socket is full.
    """
    address = os.environ.get(SOCKET_VARIABLE, "")
    if not address:
        return True
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), address)
    except OSError as error:
        log.warning("systemd_not_notified", state=state, error=str(error))
        return not isinstance(error, BlockingIOError)
    return True


def reloading() -> str:
    """Return the state of a service that reloads; READY ends it."""
    return f"{RELOADING}\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_interval() -> float | None:
    """Return the seconds between two signs of life that systemd waits for, or None for no need."""
    microseconds = os.environ.get(WATCHDOG_VARIABLE, "")
    meant_for = os.environ.get(WATCHDOG_PID_VARIABLE, "") or str(os.getpid())
    if not (microseconds.isascii() and microseconds.isdigit()) or meant_for != str(os.getpid()):
        return None
    # Half of what is allowed, as sd_watchdog_enabled(3) recommends.
    return int(microseconds) / 2e6 or None


def stopping(seconds: float) -> str:
    """Return the state of a service that stops, and asks for so much time for it."""
    return f"{STOPPING}\nEXTEND_TIMEOUT_USEC={round(1e6 * seconds)}"


@asynccontextmanager
async def running(
    ready: Callable[[], Awaitable[None]] | None = None,
    status: Callable[[], str] | None = None,
    alive: Callable[[], bool] | None = None,
) -> AsyncIterator[None]:
    """Say that the service is ready, then show signs of life and its status inside the block.

    If `ready` is given, that is said when it returns; systemd gives up after `TimeoutStartSec`. If
    `alive` is given, there are signs of life only while it says so.
    """
    if not os.environ.get(SOCKET_VARIABLE):
        ready = status = None
    heard = ready is None and notify(READY)
    life = asyncio.create_task(_live(ready, status, alive, watchdog_interval(), heard=heard))
    try:
        yield
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def _live(
    ready: Callable[[], Awaitable[None]] | None,
    status: Callable[[], str] | None,
    alive: Callable[[], bool] | None,
    interval: float | None,
    *,
    heard: bool,
) -> None:
    if ready is not None:
        await ready()
    while True:  # what it does not hear is ready, systemd ends
        if heard or notify(READY):
            break
        await asyncio.sleep(AGAIN_SECONDS)
    if interval is None and status is None:
        return
    while True:
        said = [ALIVE] if interval is not None and (alive is None or alive()) else []
        said += [STATUS + status()] if status is not None else []
        if said:
            notify("\n".join(said))
        await asyncio.sleep(min(interval or _STATUS_SECONDS, _STATUS_SECONDS))
