"""The servers for operators: metrics and health, of this process or of all workers."""

import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack

import structlog
from prometheus_client import CollectorRegistry
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from skyeim_ws.config.tree import Config
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.listener import Listener, bind
from skyeim_ws.ops import catalogue, metrics, operators_http, scrape
from skyeim_ws.ops.build import build
from skyeim_ws.ops.neighbours import Neighbours
from skyeim_ws.ops.profile import Profiler

log = structlog.get_logger()


def serve_operators(
    stack: AsyncExitStack,
    config: Config,
    own: CollectorRegistry,
    stats: Stats,
    *,
    neighbours: Mapping[str, str],
    alive: operators_http.Problems,
    ready: operators_http.Problems,
) -> None:
    """Start the servers that are configured; of `neighbours` a scrape shows the metrics too.

    Those are the sockets of other processes by name. `alive` and `ready` give the reasons for which
    a probe is answered with 503. Raises OSError.
    """
    asked = Neighbours(neighbours)
    stack.callback(asked.close)
    shown = scrape.Scrape("gateway", own, asked)
    profiles = operators_http.Profiles("gateway", Profiler(), asked)
    _serve(stack, config, shown, stats, alive=alive, ready=ready, profiles=profiles)


def serve_workers(
    stack: AsyncExitStack, config: Config, workers: Mapping[str, str], others: Mapping[str, str]
) -> None:
    """Start the servers of a parent, which knows no more than what its children answer.

    `workers` and `others` are their sockets by name; the workers decide if all is well.
    Raises OSError.
    """
    several, asked = Neighbours(workers), Neighbours({**workers, **others})
    for each in (several, asked):
        stack.callback(each.close)
    stats = Stats()
    own = metrics.registry(catalogue.PROCESS, stats.timings, lambda: metrics.of_process(build()))
    _serve(
        stack,
        config,
        scrape.Scrape("parent", own, asked),
        stats,
        alive=lambda: several.problems(config.dev_server.health_path),
        ready=lambda: several.problems(config.dev_server.ready_path),
        profiles=operators_http.Profiles("parent", Profiler(), asked),
    )


def _serve(
    stack: AsyncExitStack,
    config: Config,
    shown: scrape.Scrape,
    stats: Stats,
    *,
    alive: operators_http.Problems,
    ready: operators_http.Problems,
    profiles: operators_http.Profiles,
) -> None:
    dev, prometheus = config.dev_server, config.prometheus
    probes = {dev.health_path: alive, dev.ready_path: ready}
    application = operators_http.application
    if config.operators_socket:
        bound = [bind_unix_socket(config.operators_socket)]
        _listen(stack, application(scrape.PATH, shown, probes, profiles), bound, stats)
    if dev.enabled:
        bound = _bound(dev.host, dev.port)
        taken = profiles if dev.enable_pprof else None
        _listen(stack, application(dev.metrics_path, shown, probes, taken), bound, stats)
    if prometheus.host:
        bound = _bound(prometheus.host, prometheus.port)
        _listen(stack, application(prometheus.path, shown), bound, stats)


def _bound(host: str, port: int) -> list[socket.socket]:
    try:
        bound = bind(host, port)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    log.info("metrics_listening", host=host, port=port)
    return bound


def _listen(
    stack: AsyncExitStack, application: Application, bound: list[socket.socket], stats: Stats
) -> None:
    server = HTTPServer(application)
    stack.push_async_callback(server.close_all_connections)
    for each in bound:
        stack.callback(Listener(each, server.handle_stream, stats).close)
