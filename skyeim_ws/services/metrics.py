"""Shows the metrics of the services: on a port, as go-zero does, and to the process above."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from socket import socket
from typing import NamedTuple

import structlog
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket

from skyeim_ws.contract.timing import Timings
from skyeim_ws.ops import catalogue, logs, metrics
from skyeim_ws.ops.build import build
from skyeim_ws.ops.neighbours import Neighbours
from skyeim_ws.ops.operators_http import Profiles, application
from skyeim_ws.ops.profile import Profiler
from skyeim_ws.ops.scrape import PATH, Scrape
from skyeim_ws.services.events import Events

log = structlog.get_logger()


class Shown(NamedTuple):
    """Where they are to be had: on unix sockets, and at a path of a port, if there is a host."""

    sockets: Sequence[str] = ()
    host: str = ""
    port: int = 0
    path: str = PATH


@asynccontextmanager
async def showing(where: Shown, timings: Timings, events: Events) -> AsyncIterator[None]:
    """Show them while the block runs; raises OSError for a port that cannot be listened on."""
    made = build()
    registry = metrics.registry(
        catalogue.SERVICES,
        timings,
        lambda: {**metrics.of_process(made), "events_waiting": events.waiting},
    )
    neighbours = Neighbours({})
    shown = Scrape(logs.SERVICES, registry, neighbours)
    profiles = Profiles(logs.SERVICES, Profiler(), neighbours)
    servers = []
    try:
        for path in where.sockets:
            servers.append(HTTPServer(application(PATH, shown, profiles=profiles)))
            servers[-1].add_socket(bind_unix_socket(path))
        if where.host:
            servers.append(HTTPServer(application(where.path, shown)))
            servers[-1].add_sockets(_bound(where.host, where.port))
        yield
    finally:
        for server in servers:
            server.stop()
            await server.close_all_connections()
        neighbours.close()


def _bound(host: str, port: int) -> list[socket]:
    try:
        bound = bind_sockets(port, host)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    log.info("metrics_listening", host=host, port=port)
    return bound
