"""The sockets on which a process listens: bound, shared with workers, or inherited from systemd."""

import os
import socket
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import AsyncExitStack

import structlog

from skyeim_ws.gateway.listener import bind
from skyeim_ws.process import workers

log = structlog.get_logger()

FIRST_INHERITED = 3
"""The number of the first socket that systemd passes: SD_LISTEN_FDS_START of sd_listen_fds(3)."""

CLIENTS = "clients"
"""How the sockets for clients are named in `skyeim-ws.socket`; others are not for this program."""


class StartError(Exception):
    """The process cannot do its work here; the text is for the person who started it."""


def push_url(host: str, listeners: Sequence[socket.socket], pushes: Sequence[socket.socket]) -> str:
    """Return where services on this machine bring their events; `host` is as in a URL."""
    reached = "127.0.0.1" if pushes else host
    return f"http://{reached}:{port_of(pushes or listeners)}"


def port_of(listeners: Sequence[socket.socket]) -> int:
    """Return the port, which is the same for all of them."""
    port: int = listeners[0].getsockname()[1]
    return port


def bound(
    stack: AsyncExitStack, host: str, port: int, *, shared: bool = False
) -> list[socket.socket]:
    """Listen, until the stack ends; `shared` with other processes. Raises StartError."""
    return _owned(stack, host, port, lambda: bind(host, port, shared=shared))


def reserved(stack: AsyncExitStack, host: str, port: int) -> list[socket.socket]:
    """Hold the port for workers, until the stack ends. Raises StartError."""
    return _owned(stack, host, port, lambda: workers.reserve(host, port))


def inherited(stack: AsyncExitStack, environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Take the sockets on which systemd listens for this program, until the stack ends.

    None if there are none. What says so is taken out of the environment, since it is not meant for
    children. Raises StartError for a socket that is of no use.
    """
    said = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS")}
    names = environment.pop("LISTEN_FDNAMES", "")
    if said["LISTEN_PID"] != str(os.getpid()) or not said["LISTEN_FDS"].isdecimal():
        return []
    numbers = range(FIRST_INHERITED, FIRST_INHERITED + int(said["LISTEN_FDS"]))
    named = dict(zip(numbers, names.split(":"), strict=False)) if names else {}
    found = adopted(stack, numbers)
    for other in [each for each in found if named.get(each.fileno(), CLIENTS) != CLIENTS]:
        log.warning("socket_not_used", name=named[other.fileno()], wanted=CLIENTS)
        found.remove(other)
    return found


def adopted(stack: AsyncExitStack, numbers: Sequence[int]) -> list[socket.socket]:
    """Take sockets that listen already by their numbers, until the stack ends.

    Raises StartError.
    """
    found = []
    for number in numbers:
        try:
            each = socket.socket(fileno=number)
            stack.callback(each.close)
            listens = each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise StartError(f"the inherited socket {number}: {error.strerror}") from error
        if not listens or each.family not in (socket.AF_INET, socket.AF_INET6):
            raise StartError(f"the inherited socket {number} does not listen for TCP")
        each.setblocking(False)
        each.set_inheritable(False)
        found.append(each)
    return found


def _owned(
    stack: AsyncExitStack, host: str, port: int, bind: Callable[[], list[socket.socket]]
) -> list[socket.socket]:
    try:
        sockets = bind()
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    for each in sockets:
        stack.callback(each.close)
    return sockets
