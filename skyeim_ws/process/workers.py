"""Several gateway processes behind one port: what each is told, and who starts and stops them."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import msgspec

from skyeim_ws.config.tree import Backends, Config, PrometheusConf
from skyeim_ws.gateway.listener import host_to_bind
from skyeim_ws.ops import systemd
from skyeim_ws.process.children import Child
from skyeim_ws.process.signs_of_life import SignsOfLife, patience, signs_of_life

READY_TIMEOUT = 60.0
"""Seconds: a small machine takes long to import all this in several processes at once."""

STOP_MARGIN = 5.0
"""Seconds that a worker may need besides what `Shutdown` gives it, to write the rest to Redis."""

_VARIABLE = "SKYEIM_WORKER"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told: its number, and a configuration that leaves nothing to be started.

    `push_port` is where it takes pushes without TLS, on loopback; 0 for nowhere. `sockets` are the
    numbers of those that listen already, for all workers; without them it binds the port itself.
    """

    index: int
    config: Config
    push_port: int = 0
    sockets: tuple[int, ...] = ()


def worker_name(index: int) -> str:
    """Return how a worker is called, in the log and in the metrics."""
    return f"worker-{index}"


def count(config: Config) -> int:
    """Return how many processes the gateway consists of."""
    return config.workers or len(os.sched_getaffinity(0))


def reserve(host: str, port: int) -> list[socket.socket]:
    """Bind the port for processes that share it; nobody is accepted here.

    Port 0 takes a free one, the same for all addresses of the host. Raises OSError.
    """
    reserved: list[socket.socket] = []
    unusable: OSError | None = None
    name = host_to_bind(host) or None
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            reserved.append(_bound(family, kind, protocol, (address[0], port, *address[2:])))
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                # The host has addresses of both families, and an interface for one of them.
                unusable = error
                continue
            for other in reserved:
                other.close()
            raise
        port = reserved[-1].getsockname()[1]
    if unusable is not None and not reserved:
        raise unusable
    return reserved


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    result = socket.socket(family, kind, protocol)
    try:
        # Bound without SO_REUSEPORT, so that it fails if anybody has the port already. Set
        # afterwards, it lets our own workers in. SO_REUSEADDR is off by then, so that nobody
        # else comes in, even while no worker listens.
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            result.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        result.bind(address)
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        result.close()
        raise
    return result


def assignments(
    config: Config,
    where: Backends,
    port: int,
    push_port: int,
    *,
    sockets: Sequence[int] = (),
    folder: str = "",
) -> list[Assignment]:
    """Return what each worker is told; it answers its parent on a socket in the folder."""
    told = []
    for index in range(count(config)):
        own = replace(
            config,
            name=f"{config.name}-{index}",
            log=config.named_log,
            port=port,
            workers=count(config),
            redis=where.redis,
            message_rpc=where.message_rpc,
            friend_rpc=where.friend_rpc,
            group_rpc=where.group_rpc,
            embedded=None,
            database=None,
            operators_socket=folder and f"{folder}/{worker_name(index)}",
            dev_server=replace(config.dev_server, enabled=False),
            prometheus=PrometheusConf(),
        )
        told.append(Assignment(index, own, push_port, tuple(sockets)))
    return told


def environment(told: Assignment) -> dict[str, str]:
    """Return what a worker must know, and the list of processes must not show."""
    return {_VARIABLE: msgspec.json.encode(told).decode()}


def receive(environment: MutableMapping[str, str]) -> Assignment:
    """Take out of the environment what this process is told; raises KeyError if it is nothing."""
    return msgspec.json.decode(environment.pop(_VARIABLE), type=Assignment)


@asynccontextmanager
async def running(
    told: list[Assignment],
) -> AsyncIterator[tuple[list[Child], list[SignsOfLife]]]:
    """Run workers, until the block ends; they listen when it begins.

    Gives them, and what is heard of them. One that dies or hangs is started again. At the end
    all are told at once to drain. Raises ChildError if one of them does not start.
    """
    async with AsyncExitStack() as stack:
        heard = [stack.enter_context(signs_of_life()) for _ in told]
        workers = [_worker(*each) for each in zip(told, heard, strict=True)]
        watches = [
            asyncio.create_task(signs.watch(worker, patience()))
            for signs, worker in zip(heard, workers, strict=True)
        ]
        stack.push_async_callback(_cancel, watches)
        shutdown = told[0].config.shutdown
        grace = shutdown.pre_stop + shutdown.wrap_up_time + shutdown.wait_time + STOP_MARGIN
        stack.push_async_callback(_stop, workers, grace)
        try:
            async with asyncio.TaskGroup() as starts:
                for worker in workers:
                    starts.create_task(worker.start())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        yield workers, heard


async def _cancel(watches: list[asyncio.Task[None]]) -> None:
    for watch in watches:
        watch.cancel()
    await asyncio.wait(watches)


async def _stop(workers: list[Child], grace: float) -> None:
    await asyncio.gather(*(worker.stop(grace) for worker in workers))


def _worker(assignment: Assignment, signs: SignsOfLife) -> Child:
    # It gives two signs in the time that `systemd` is told it has.
    microseconds = round(1e6 * patience() / 2)
    supervisor = {
        systemd.SOCKET_VARIABLE: signs.address,
        systemd.WATCHDOG_VARIABLE: str(microseconds),
        systemd.WATCHDOG_PID_VARIABLE: "",
    }
    return Child(
        worker_name(assignment.index),
        [sys.executable, "-m", "skyeim_ws.process.worker"],
        ready=signs.ready,
        ready_timeout=READY_TIMEOUT,
        environment=environment(assignment) | supervisor,
        pass_fds=assignment.sockets,
    )
