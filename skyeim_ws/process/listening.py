"""The sockets on which a process listens, and the addresses by which this machine reaches them."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from socket import socket

from skyeim_ws.gateway.listener import bind
from skyeim_ws.process import workers

_ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - recognized here, not bound


class StartError(Exception):
    """The process cannot do its work here; the text is for the person who started it."""


def push_url(host: str, listeners: Sequence[socket], pushes: Sequence[socket]) -> str:
    """Return where the services reach this machine's gateway."""
    reached = "127.0.0.1" if pushes else local_host(host)
    return f"http://{reached}:{port_of(pushes or listeners)}"


def port_of(listeners: Sequence[socket]) -> int:
    """Return the port, which is the same for all of them."""
    port: int = listeners[0].getsockname()[1]
    return port


def bound(stack: AsyncExitStack, host: str, port: int, *, shared: bool = False) -> list[socket]:
    """Listen, until the stack ends; `shared` with other processes. Raises StartError."""
    return _owned(stack, host, port, lambda: bind(host, port, shared=shared))


def reserved(stack: AsyncExitStack, host: str, port: int) -> list[socket]:
    """Hold the port for workers, until the stack ends. Raises StartError."""
    return _owned(stack, host, port, lambda: workers.reserve(host, port))


def _owned(
    stack: AsyncExitStack, host: str, port: int, bind: Callable[[], list[socket]]
) -> list[socket]:
    try:
        sockets = bind()
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    for each in sockets:
        stack.callback(each.close)
    return sockets


def local_host(host: str) -> str:
    """Return the host by which this machine reaches a server that listens on `host`."""
    host = "127.0.0.1" if host in _ANY_ADDRESS else host
    return f"[{host}]" if ":" in host else host
