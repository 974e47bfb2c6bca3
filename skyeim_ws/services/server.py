"""Serves Message, Friend and Group over gRPC: `python -m skyeim_ws.services.server`."""

import asyncio
import ipaddress
import os
import signal
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]
from grpc_reflection.v1alpha import reflection as grpc_reflection
from sqlalchemy.exc import SQLAlchemyError

from skyeim_ws.contract.grpc_tls import server_credentials
from skyeim_ws.contract.pb.friend_pb2_grpc import add_FriendServicer_to_server
from skyeim_ws.contract.pb.group_pb2_grpc import add_GroupServicer_to_server
from skyeim_ws.contract.pb.message_pb2_grpc import add_MessageServicer_to_server
from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.contract.spans import Tracer
from skyeim_ws.contract.timing import Timings
from skyeim_ws.discovery.announce import announcing, decode
from skyeim_ws.ops import logs, minute, systemd, telemetry
from skyeim_ws.ops.loop_watch import watching
from skyeim_ws.ops.stacks import log_stacks
from skyeim_ws.services.arguments import parse
from skyeim_ws.services.data_source import DataSourceError, shown
from skyeim_ws.services.db import Database, open_database
from skyeim_ws.services.demo import seed_demo
from skyeim_ws.services.errors import StatusInterceptor, said
from skyeim_ws.services.events import Events
from skyeim_ws.services.friend import FriendService
from skyeim_ws.services.group import GroupService
from skyeim_ws.services.message import MessageService
from skyeim_ws.services.metrics import Shown, showing
from skyeim_ws.services.migrations import SchemaError
from skyeim_ws.services.writable import watched

GRACE = 5.0
"""Seconds that calls under way may take to end when the server stops."""

STOP_SECONDS = GRACE + 5.0
"""Seconds that a stop may take: after the calls the last events are brought to the gateway."""

MAX_CALLS = 2_000
"""Calls under way, those that wait for the database included; more get RESOURCE_EXHAUSTED."""

MAX_REQUEST = 64 * 1024 * 1024
"""Bytes of one request: a batch of a thousand messages of the largest size."""

HEALTH_NAMES = ("", "message.Message", "friend.Friend", "group.Group")

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST),
    # With it two servers would share an address in silence.
    ("grpc.so_reuseport", 0),
    # Clients probe idle channels; by default the server would hang up on them for that.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

log = structlog.get_logger()


class ListenError(Exception):
    """An address cannot be listened on."""


class _Handlers:
    """Where handlers are added to a server by the service alone, and not by each method as well.

    grpcio waits for the next call of each method that it knows apart, anew at every call; with
    fifty methods that takes half of the CPU time of a lone call.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, *_: object) -> None:
        """Leave it out."""


@asynccontextmanager
async def serve_services(
    database: Database,
    events: Events,
    addresses: Sequence[str],
    *,
    tls: grpc.ServerCredentials | None = None,
    grace: float = GRACE,
    reflection: bool = False,
    timings: Timings | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[list[str]]:
    """Serve on all addresses inside the block; gives the addresses with their real ports.

    An address is `unix:/path` or `host:port`, which speaks TLS if `tls` is given; with
    `reflection` clients may ask for the services. Health is NOT_SERVING while the database takes no
    writes, and on leaving: then new calls are refused, and those under way get `grace` seconds.
    Raises ListenError.
    """
    server = grpc.aio.server(
        interceptors=[StatusInterceptor(timings, tracer)],
        options=_OPTIONS,
        maximum_concurrent_rpcs=MAX_CALLS,
    )
    handlers = cast(grpc.aio.Server, _Handlers(server))
    add_MessageServicer_to_server(MessageService(database, events), handlers)
    add_FriendServicer_to_server(FriendService(database, events), handlers)
    add_GroupServicer_to_server(GroupService(database, events), handlers)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, handlers)
    if reflection:
        names = [*filter(None, HEALTH_NAMES), grpc_reflection.SERVICE_NAME]
        grpc_reflection.enable_server_reflection(names, handlers)
    try:
        bound = [_bind(server, address, tls) for address in addresses]
        await server.start()

        async def serving(writable: bool) -> None:
            answer = health_pb2.HealthCheckResponse
            for name in HEALTH_NAMES:
                await health.set(name, answer.SERVING if writable else answer.NOT_SERVING)

        await serving(True)
        log.info("services_listening", addresses=bound)
        if tls is None and (exposed := [each for each in bound if not _is_local(each)]):
            log.warning("services_without_tls", addresses=exposed)
        async with watched(database, serving):
            yield bound
    finally:
        await health.enter_graceful_shutdown()
        await server.stop(grace)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    arguments = parse(argv)
    try:
        logs.configure(logs.decode(arguments.log), process=logs.SERVICES, dev=False)
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    # The database and the sockets are for this user alone.
    os.umask(0o077)
    try:
        asyncio.run(_serve(arguments))
    except DataSourceError as error:
        return _failed(arguments, f"Database.DataSource: {error}")
    except SQLAlchemyError as error:
        return _failed(arguments, f"the database {shown(arguments.data_source)}: {said(error)}")
    except (SchemaError, ListenError, OSError) as error:
        return _failed(arguments, str(error) or type(error).__name__)
    return 0


def _failed(arguments: Namespace, why: str) -> int:
    log.error("services_failed", error=why)
    if logs.decode(arguments.log).mode != "console":  # whoever starts it does not see the log
        sys.stderr.write(f"error: {why}\n")
    return 1


async def _serve(arguments: Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reopen, arguments.log)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, log_stacks)
    conf = logs.decode(arguments.log)
    with watching(conf.slow_threshold) as timings:
        told = asyncio.create_task(minute.tell(minute.Usage(timings).fields)) if conf.stat else None
        try:
            await _serve_until(stop, arguments, timings)
        finally:
            if told is not None:
                told.cancel()


async def _serve_until(stop: asyncio.Event, arguments: Namespace, timings: Timings) -> None:
    database = await open_database(arguments.data_source)
    try:
        if arguments.demo:
            await seed_demo(database)
        redis = arguments.redis and RedisAddress.decode(arguments.redis)
        events = Events(
            database,
            redis,
            arguments.push_url,
            arguments.push_secret,
            push_cert=arguments.push_cert_file,
        )
        try:
            async with (
                telemetry.exporting(arguments.telemetry, logs.SERVICES) as tracer,
                serve_services(
                    database,
                    events,
                    arguments.listen,
                    tls=_tls(arguments),
                    reflection=arguments.reflection,
                    timings=timings,
                    tracer=tracer,
                ),
                showing(_shown(arguments), timings, events),
                announcing(decode(arguments.announce) if arguments.announce else []),
                systemd.running(),
            ):
                await stop.wait()
                log.info("services_stopping")
                systemd.notify(systemd.stopping(STOP_SECONDS))
        finally:
            await events.close()
    finally:
        await database.close()


def _shown(arguments: Namespace) -> Shown:
    return Shown(
        arguments.metrics_socket,
        arguments.metrics_host,
        arguments.metrics_port,
        arguments.metrics_path,
    )


def _reopen(conf: str) -> None:
    """Open the log files anew; nothing else is read again."""
    try:
        logs.reopen(logs.decode(conf), process=logs.SERVICES)
    except OSError as error:
        log.error("reload_failed", error=str(error))


def _is_local(address: str) -> bool:
    """Tell whether only this machine can reach the address."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind(server: grpc.aio.Server, address: str, tls: grpc.ServerCredentials | None) -> str:
    try:
        if tls is None or address.startswith("unix:"):
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, tls)
    except RuntimeError:
        port = 0
    if port == 0:
        raise ListenError(f"cannot listen on {address}")
    if address.startswith("unix:"):
        return address
    return f"{address.rpartition(':')[0]}:{port}"


def _tls(arguments: Namespace) -> grpc.ServerCredentials | None:
    if not arguments.cert_file:
        return None
    return server_credentials(
        arguments.cert_file, arguments.key_file, arguments.client_ca_file or ""
    )


if __name__ == "__main__":
    sys.exit(main())
