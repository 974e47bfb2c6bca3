"""The process: bind, start what is needed, run until SIGTERM, say why it cannot."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from skyeim_ws.config.tree import Config, EmbeddedConf
from skyeim_ws.discovery.announce import Announcement, announcing, reached_at
from skyeim_ws.gateway.app import gateway
from skyeim_ws.gateway.backends import forget_everyone
from skyeim_ws.gateway.http import tls
from skyeim_ws.gateway.operators import serve_workers
from skyeim_ws.gateway.probe import redis_reached
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.ops import systemd
from skyeim_ws.ops.logs import configure
from skyeim_ws.process import signals, workers
from skyeim_ws.process.children import Child, ChildError
from skyeim_ws.process.descriptors import raise_limit
from skyeim_ws.process.embedded import STOP_GRACE, backends
from skyeim_ws.process.garbage import look_seldom
from skyeim_ws.process.listening import (
    StartError,
    adopted,
    bound,
    inherited,
    port_of,
    push_url,
    reserved,
)
from skyeim_ws.process.reload import reloader, reread_file
from skyeim_ws.process.services import become_services
from skyeim_ws.process.valkey import EmbeddedError
from skyeim_ws.process.welcome import welcome

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Started:
    """Something that runs: the port that it listens on, and an event that says it has to end.

    `reload` says whether it went well, and `children` hear of the signals then. `ready` returns
    when it can do all its work; None if that is not waited for. `status` says how it does, `alive`
    whether it answers, and a stop may take `stop_seconds`.
    """

    port: int
    failed: asyncio.Event
    reload: Callable[[], bool]
    stop_seconds: float
    children: Sequence[Child] = ()
    ready: Callable[[], Awaitable[None]] | None = None
    status: Callable[[], str] | None = None
    alive: Callable[[], bool] | None = None


def serve(config: Config) -> int:
    """Run the gateway until SIGTERM or SIGINT; return the exit code."""
    reread = partial(reread_file, config)
    return _run(run_gateway(config, reread, demo=False, announce=lambda _port: None))


def demo(config: Config, port: int | None, data_dir: str | None) -> int:
    """Run a gateway, its services and sample users; print how to chat."""

    def tried(config: Config) -> Config:
        folder = EmbeddedConf(data_dir=data_dir) if data_dir else config.embedded or EmbeddedConf()
        own = config.port if port is None else port
        return replace(config, port=own, embedded=folder, demo=True)

    config = tried(config)

    def announce(listening: int) -> None:
        sys.stdout.write(welcome(replace(config, port=listening)))
        sys.stdout.flush()

    reread = partial(reread_file, config)
    return _run(run_gateway(config, lambda: tried(reread()), demo=True, announce=announce))


def work(told: workers.Assignment) -> int:
    """Run one of several gateway processes, as its parent says; return the exit code."""
    config, name = told.config, workers.worker_name(told.index)

    async def start(stack: AsyncExitStack) -> Started:
        listeners = adopted(stack, told.sockets) or bound(
            stack, config.host, config.port, shared=True
        )
        pushes = bound(stack, "127.0.0.1", told.push_port, shared=True) if told.push_port else []
        where, _ = await stack.enter_async_context(backends(config, "", demo=False))
        running = await stack.enter_async_context(gateway(config, where, listeners, pushes))
        reload = reloader(config, partial(reread_file, config), running.reload, process=name)
        return Started(
            running.port, running.failed, reload, _stop_seconds(config), status=running.status
        )

    return _run(_until_stopped(lambda: _prepare(config, name), start, announce=lambda _port: None))


def run_services(config: Config) -> int:
    """Run the business services alone, in this process.

    Returns only if they cannot be started, with the exit code, or raises ConfigError.
    """
    try:
        become_services(config)
    except (EmbeddedError, OSError) as error:
        return _failed(error)


def _run(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(work)
    except StartError as error:
        log.error("start_failed", error=str(error))
        return _failed(error)
    except asyncio.CancelledError:
        log.warning("stopped_at_once")
        return 130


def _failed(error: Exception) -> int:
    sys.stderr.write(f"error: {error}\n")
    return 1


async def run_gateway(
    config: Config,
    reread: Callable[[], Config],
    *,
    demo: bool,
    announce: Callable[[int], None],
) -> int:
    """Run a gateway, or its workers, until a signal; return the exit code.

    `reread` reads the configuration anew, and raises ConfigError. `announce` is called with the
    port once clients may connect.
    """
    # Embedded services show it with their pushes. Workers get it with their configuration.
    own = replace(config.push_event, own_secret=secrets.token_urlsafe())
    config = replace(config, push_event=own)
    name, start = ("gateway", _start) if workers.count(config) == 1 else ("parent", _start_workers)
    return await _until_stopped(
        lambda: _prepare(config, name),
        lambda stack: start(stack, config, reread, demo=demo),
        announce,
    )


def _prepare(config: Config, name: str) -> None:
    try:
        configure(config.named_log, process=name, dev=config.is_dev)
    except OSError as error:
        problem = error.strerror or error
        raise StartError(f"cannot write the log (Log.Path): {error.filename}: {problem}") from error
    raise_limit(config.max_conns)


async def _until_stopped(
    prepare: Callable[[], None],
    start: Callable[[AsyncExitStack], Coroutine[Any, Any, Started]],
    announce: Callable[[int], None],
) -> int:
    """Run what is started until a signal comes or it fails; return the exit code."""
    stop = signals.stop_on_signals()
    hangup = signals.survive_signals()
    # What systemd hears goes on until everything has stopped.
    async with AsyncExitStack() as heard, AsyncExitStack() as stack:
        try:
            prepare()
            started = await _unless_stopped(start(stack), stop)
        except (EmbeddedError, ChildError, Unavailable, OSError, ImportError) as error:
            raise StartError(str(error)) from error
        if started is None:
            log.info("start_given_up")
            return 0
        look_seldom()
        signals.reload_on_signal(started.reload, started.children, hangup)
        announce(started.port)
        await heard.enter_async_context(
            systemd.running(started.ready, started.status, started.alive)
        )
        await _any_of(stop, started.failed)
        systemd.notify(systemd.stopping(started.stop_seconds))
    return int(started.failed.is_set())


async def _unless_stopped(
    start: Coroutine[Any, Any, Started], stop: asyncio.Event
) -> Started | None:
    """Return what is started, or None if a signal came first: the start may take a minute."""
    starting, waiting = asyncio.create_task(start), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
        return await starting if starting.done() else None
    finally:
        for task in (starting, waiting):
            task.cancel()
        await asyncio.gather(starting, waiting, return_exceptions=True)


async def _any_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _start(
    stack: AsyncExitStack, config: Config, reread: Callable[[], Config], *, demo: bool
) -> Started:
    """Start everything, to be stopped by the stack."""
    listeners = inherited(stack, os.environ) or bound(stack, config.host, config.port)
    # The services' pushes come over loopback; with TLS on, by a listener of their own, since no
    # certificate names 127.0.0.1.
    pushes = bound(stack, "127.0.0.1", 0) if config.cert_file else []
    pushed_to = push_url(config.local_host, listeners, pushes)
    where, children = await stack.enter_async_context(backends(config, pushed_to, demo=demo))
    running = await stack.enter_async_context(gateway(config, where, listeners, pushes))
    await _announce(stack, config, running.port)
    reload = reloader(config, reread, running.reload)
    ready = partial(redis_reached, where.redis)
    return Started(
        running.port,
        running.failed,
        reload,
        _stop_seconds(config),
        children,
        ready,
        running.status,
    )


def _stop_seconds(config: Config) -> float:
    """Return how long a stop may take: until clients, workers and both children are gone."""
    told = config.shutdown
    own = told.pre_stop + told.wrap_up_time + told.wait_time
    return own + workers.STOP_MARGIN + 2 * STOP_GRACE


async def _announce(stack: AsyncExitStack, config: Config, port: int) -> None:
    """Have others find the gateway, if it is to be found; it is withdrawn before it stops."""
    if config.etcd is not None:
        address = reached_at(config.host, port, config.advertise_host)
        await stack.enter_async_context(announcing([Announcement(config.etcd, address)]))


async def _start_workers(
    stack: AsyncExitStack, config: Config, reread: Callable[[], Config], *, demo: bool
) -> Started:
    """Start everything, the gateway as several processes on one port."""
    given = inherited(stack, os.environ)
    shared = given or reserved(stack, config.host, config.port)
    pushes = reserved(stack, "127.0.0.1", 0) if config.cert_file else []
    pushed_to = push_url(config.local_host, shared, pushes)
    where, children = await stack.enter_async_context(backends(config, pushed_to, demo=demo))
    if where.private_redis:
        await forget_everyone(config, where)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="skyeim-ws-"))
    told = workers.assignments(
        config,
        where,
        port_of(shared),
        port_of(pushes) if pushes else 0,
        sockets=[each.fileno() for each in given],
        folder=folder if config.shows_metrics else "",
    )
    answering = {workers.worker_name(each.index): each.config.operators_socket for each in told}
    serve_workers(stack, config, answering, where.neighbours)
    several, heard = await stack.enter_async_context(workers.running(told))
    children += several
    await _announce(stack, config, port_of(shared))
    log.info("workers_listening", host=config.host, port=port_of(shared), workers=len(told))
    # A worker that fails is started again.
    # They also take what is new; here the files are tried, before any of them hears of it.
    reload = reloader(config, reread, tls, process="parent")
    ready = partial(redis_reached, where.redis)
    return Started(
        port_of(shared),
        asyncio.Event(),
        reload,
        _stop_seconds(config),
        children,
        ready,
        lambda: f"{len(heard)} workers: " + " | ".join(signs.status for signs in heard),
        lambda: all(signs.answers for signs in heard),
    )
