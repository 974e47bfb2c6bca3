"""What the process does on which signal, and which of them its children hear."""

import asyncio
import signal
from collections.abc import Callable, Sequence

import structlog

from skyeim_ws.ops.stacks import log_stacks
from skyeim_ws.process.children import Child

log = structlog.get_logger()


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; a second one ends the process at once."""
    stop = asyncio.Event()
    main = asyncio.current_task()

    def on_signal(number: signal.Signals) -> None:
        log.info("signal_received", signal=number.name)
        if stop.is_set() and main is not None:
            main.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def survive_signals() -> asyncio.Event:
    """Log stacks on SIGUSR1, and ignore SIGUSR2; return an event that SIGHUP sets."""
    hangup = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    loop.add_signal_handler(signal.SIGUSR1, log_stacks)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    return hangup


def reload_on_signal(
    reload: Callable[[], bool], children: Sequence[Child], hangup: asyncio.Event
) -> None:
    """Reload on SIGHUP, and pass it on if that went well; pass SIGUSR1 on, too.

    A SIGHUP that came during the start, as `hangup` says, has its effect now.
    """
    loop = asyncio.get_running_loop()

    def tell(number: signal.Signals) -> None:
        for child in children:
            child.signal(number)

    def on_hangup() -> None:
        if reload():
            tell(signal.SIGHUP)

    def on_user1() -> None:
        log_stacks()
        tell(signal.SIGUSR1)

    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    loop.add_signal_handler(signal.SIGUSR1, on_user1)
    if hangup.is_set():
        on_hangup()
