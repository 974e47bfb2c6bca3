"""What the program starts itself where nothing is configured: Redis and the business services."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import RpcConf
from skyeim_ws.config.tree import Backends, Config, ServicesConf
from skyeim_ws.discovery.announce import Announcement, encode, reached_at
from skyeim_ws.ops import logs, systemd, telemetry
from skyeim_ws.process import valkey
from skyeim_ws.process.children import Child, ChildError

_READY_TIMEOUT = 60.0
"""Seconds: Valkey may have a long file to load, and a small machine imports slowly."""

STOP_GRACE = 6.0
"""Seconds that each child has to end when it is told to, one after the other."""

_PROBE_TIMEOUT = 1.0
_SERVICES_SOCKET, _METRICS_SOCKET = "services.sock", "metrics.sock"
_DATABASE_FILE = "skyeim.db"
_REDIS_LOG = "valkey.log"

DATA_SOURCE_VARIABLE = "SKYEIM_DATA_SOURCE"
REDIS_VARIABLE = "SKYEIM_REDIS"
_ANNOUNCE_VARIABLE = "SKYEIM_ANNOUNCE"
_LOG_VARIABLE = "SKYEIM_LOG"
_TELEMETRY_VARIABLE = "SKYEIM_TELEMETRY"
_PUSH_SECRET_VARIABLE = "SKYEIM_PUSH_SECRET"  # noqa: S105 - a name


@asynccontextmanager
async def backends(
    config: Config, push_url: str, *, demo: bool
) -> AsyncIterator[tuple[Backends, list[Child]]]:
    """Start what the configuration leaves to the program, and stop it at the end.

    Gives also the children to which the signals of this process are passed on: not Valkey.
    `push_url` is where the services bring their events; with `demo` a new database gets users.
    Raises EmbeddedError or ChildError, with a text for the person who started the program.
    """
    async with AsyncExitStack() as stack:
        redis, own_services = config.redis, None
        children: list[Child] = []
        neighbours: dict[str, str] = {}
        rpcs = config.rpcs.values()
        if config.embedded is not None and (redis is None or None in rpcs):
            data_dir = Path(config.embedded.data_dir)
            with valkey.explained(data_dir):
                stack.enter_context(valkey.locked(data_dir))
                if redis is None:
                    redis = await _start_redis(stack, data_dir)
                if None in rpcs:
                    address = services_address(data_dir)
                    metrics = valkey.runtime_dir(data_dir) / _METRICS_SOCKET
                    if config.shows_metrics:
                        neighbours[logs.SERVICES] = str(metrics)
                    child = _services_child(
                        config, redis, address, push_url, demo=demo, metrics=neighbours.values()
                    )
                    await _start(stack, child)
                    children.append(child)
                    own_services = RpcConf(endpoints=(address,))
        message, friend, group = (rpc or own_services for rpc in rpcs)
        if redis is None or message is None or friend is None or group is None:
            raise ValueError("the configuration was not checked: a backend is missing")
        private = config.redis is None
        yield Backends(redis, message, friend, group, private, neighbours), children


def services_address(data_dir: Path) -> str:
    """Return where the embedded services of a data folder listen."""
    return f"unix:{valkey.runtime_dir(data_dir) / _SERVICES_SOCKET}"


def services_command(
    addresses: Sequence[str],
    push_url: str,
    *,
    demo: bool,
    reflection: bool = False,
    conf: ServicesConf = ServicesConf(),  # noqa: B008 - it is frozen
    metrics: Iterable[str] = (),
) -> list[str]:
    """Return the command line of the services; what is secret is in `services_environment`.

    On the sockets `metrics` they show their metrics, besides where their configuration says.
    """
    command = [sys.executable, "-m", "skyeim_ws.services.server"]
    command += ["--data-source-env", DATA_SOURCE_VARIABLE, "--redis-env", REDIS_VARIABLE]
    command += ["--announce-env", _ANNOUNCE_VARIABLE, "--log-env", _LOG_VARIABLE]
    command += ["--telemetry-env", _TELEMETRY_VARIABLE]
    for address in addresses:
        command += ["--listen", address]
    if push_url:
        command += ["--push-url", push_url, "--push-secret-env", _PUSH_SECRET_VARIABLE]
    if conf.cert_file:
        command += ["--cert-file", conf.cert_file, "--key-file", conf.key_file]
        command += ["--client-ca-file", conf.client_ca_file] if conf.client_ca_file else []
    for path in metrics:
        command += ["--metrics-socket", path]
    shown = conf.prometheus
    if shown.host:
        command += ["--metrics-host", shown.host, "--metrics-port", str(shown.port)]
        command += ["--metrics-path", shown.path]
    command += ["--reflection"] if reflection else []
    return command + (["--demo"] if demo else [])


def services_announcements(config: Config) -> list[Announcement]:
    """Return what others are to find of the services: the endpoints of sections with an Etcd."""
    found = []
    for rpc in config.rpcs.values():
        if rpc is not None and rpc.etcd is not None and rpc.etcd.hosts and rpc.etcd.key:
            for host, _, port in (endpoint.rpartition(":") for endpoint in rpc.endpoints):
                if port.isdecimal():  # else it is a socket of this machine
                    address = reached_at(host, int(port), config.advertise_host)
                    found.append(Announcement(rpc.etcd, address))
    return found


def services_environment(
    config: Config, redis: RedisConf, announced: Sequence[Announcement] = ()
) -> dict[str, str]:
    """Return what the services must know, and most of which the list of processes must not show."""
    return {
        _ANNOUNCE_VARIABLE: encode(announced),
        DATA_SOURCE_VARIABLE: data_source(config),
        _LOG_VARIABLE: logs.encode(config.named_log),
        _TELEMETRY_VARIABLE: telemetry.encode(config.named_telemetry),
        REDIS_VARIABLE: redis.address.encode(),
        # Our own children show what no reload changes.
        _PUSH_SECRET_VARIABLE: config.push_event.own_secret or config.push_event.secret,
    }


def data_source(config: Config) -> str:
    """Return the database of the business services: the configured one, else a file."""
    if config.database is not None:
        return config.database.data_source
    folder = config.embedded.data_dir if config.embedded is not None else "data"
    return str(Path(folder).absolute() / _DATABASE_FILE)


async def _start_redis(stack: AsyncExitStack, data_dir: Path) -> RedisConf:
    # Not to our own log, which is JSON.
    output = data_dir / _REDIS_LOG
    child, socket = valkey.child(data_dir, ready_timeout=_READY_TIMEOUT, output=output)
    try:
        await _start(stack, child)
    except ChildError as error:
        raise ChildError(f"{error}; {output} says why") from error
    return RedisConf(host=str(socket))


def _services_child(
    config: Config,
    redis: RedisConf,
    address: str,
    push_url: str,
    *,
    demo: bool,
    metrics: Iterable[str],
) -> Child:
    async def ready() -> bool:
        return await _answers(address)

    return Child(
        "services",
        services_command(
            [address],
            push_url,
            demo=demo,
            reflection=config.is_dev,
            conf=ServicesConf(prometheus=config.services.prometheus),
            metrics=metrics,
        ),
        ready=ready,
        ready_timeout=_READY_TIMEOUT,
        # It is not the process of which systemd wants to hear.
        environment=services_environment(config, redis) | systemd.UNHEARD,
    )


async def _start(stack: AsyncExitStack, child: Child) -> None:
    await child.start()
    stack.push_async_callback(child.stop, STOP_GRACE)


async def _answers(address: str) -> bool:
    """Whether a gRPC server takes connections at the address."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), _PROBE_TIMEOUT)
        except TimeoutError:
            return False
    return True
