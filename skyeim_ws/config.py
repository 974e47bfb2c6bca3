"""The configuration: a YAML file in the manner of go-zero becomes a frozen typed tree.

Sections are dataclasses; `conf_loader` says how their fields are read. Times are seconds unless a
name or a comment says milliseconds.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from skyeim_ws.conf_loader import ConfigError as ConfigError  # noqa: PLC0414 - re-exported
from skyeim_ws.conf_loader import Duration, NonEmpty, Range, bind, read
from skyeim_ws.conf_redis import RedisConf as RedisConf  # noqa: PLC0414 - re-exported
from skyeim_ws.conf_redis import SentinelConf as SentinelConf  # noqa: PLC0414 - re-exported
from skyeim_ws.conf_redis import check_redis

EXAMPLE_SECRETS = frozenset({"example-secret-for-trying-out-only--never-in-production"})
"""Secrets that the example files print; whoever knows them could log in as anyone."""

MIN_SECRET_BYTES = 32
"""RFC 7518, section 3.2: a key of HS256 is no shorter than its hash."""

MAX_BATCH = 1000
"""Messages that the embedded Message service takes in one call."""

_PLACEHOLDER = re.compile(r"\$\{\w+\}")

Text = Annotated[str, NonEmpty()]
Port = Annotated[int, Range(0, 65535)]
Count = Annotated[int, Range(1)]
CountOrOff = Annotated[int, Range(0)]
Seconds = Annotated[float, Duration()]
SecondsOrNone = Annotated[float, Duration(allow_zero=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How tokens are signed; `prev_secret` is still accepted while a secret is being changed."""

    access_secret: Text = field(repr=False)
    access_expire: Count = 7 * 86400
    prev_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdConf:
    """Where go-zero services announce their addresses."""

    IGNORED: ClassVar = frozenset({"id", "certfile", "certkeyfile", "cacertfile"}) | {
        "insecureskipverify"
    }

    hosts: tuple[str, ...] = ()
    key: str = ""
    user: str = ""
    password: str = field(default="", repr=False, metadata={"key": "Pass"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcConf:
    """How one business service is reached; `timeout` in milliseconds."""

    IGNORED: ClassVar = frozenset({"keepalivetime", "middlewares", "balancername"})

    endpoints: tuple[str, ...] = ()
    target: str = ""
    etcd: EtcdConf | None = None
    timeout: Count = 2000
    non_block: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketConf:
    """The limits of connections and of the queues behind them; sizes in bytes, times in seconds.

    `offline_buffer_size` bounds what memory holds of the offline queue while Redis is away,
    `ledger_size` the unconfirmed messages of one connection, `max_in_flight` the unanswered sends
    of one client, `send_backlog` the messages of all clients
    that wait for storage. `rate_limit` is in frames per second and client; 0 switches it off.
    """

    ping_interval: Seconds = 54.0
    pong_timeout: Seconds = 60.0
    handshake_timeout: Seconds = 10.0
    close_timeout: Seconds = 5.0
    max_message_size: Count = 65536
    send_queue_size: Count = 256
    send_queue_bytes: Count = 1048576
    offline_push_limit: Count = 20
    offline_queue_size: Count = 10000
    offline_ttl: Seconds = field(default=720 * 3600.0, metadata={"key": "OfflineTTL"})
    offline_buffer_size: Count = 10000
    group_queue_size: Count = 256
    ledger_size: Count = 1024
    max_in_flight: Count = 128
    send_batch_size: Count = 256
    send_backlog: Count = 10000
    recent_acks: Count = 10000
    member_cache_size: Count = 10000
    confirm_interval: Seconds = 0.5
    node_renew_interval: Seconds = 5.0
    node_dead_after: Seconds = 15.0
    origins: tuple[str, ...] = ()
    rate_limit: CountOrOff = 200
    rate_burst: Count = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PushEventConf:
    """The secret that services show when they push events; without one, only loopback may."""

    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConf:
    """Where the log goes and what it looks like; `max_size` in MB, 0 means no limit throughout."""

    IGNORED: ClassVar = frozenset({"filetimeformat", "fieldkeys"})

    service_name: str = ""
    mode: Literal["console", "file", "volume"] = "console"
    encoding: Literal["json", "plain"] = "json"
    time_format: str = ""
    path: Text = "logs"
    level: Literal["debug", "info", "warn", "error", "severe"] = "info"
    max_content_length: CountOrOff = 0
    compress: bool = False
    stat: bool = True
    keep_days: CountOrOff = 0
    stack_cooldown_millis: CountOrOff = 100
    max_backups: CountOrOff = 0
    max_size: CountOrOff = 0
    rotation: Literal["daily", "size"] = "daily"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevServerConf:
    """The server for operators: health and metrics, away from the users' port."""

    IGNORED: ClassVar = frozenset({"enablemetrics", "enablepprof", "healthresponse"})

    enabled: bool = False
    host: Text = "127.0.0.1"
    port: Port = 6060
    health_path: Text = "/healthz"
    metrics_path: Text = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusConf:
    """A server for metrics alone; without `host` there is none."""

    host: str = ""
    port: Port = 9101
    path: Text = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownConf:
    """How long a stop takes: announced for `wrap_up_time`, over after `wait_time`."""

    wrap_up_time: SecondsOrNone = 1.0
    wait_time: SecondsOrNone = 5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedConf:
    """What is not configured is started by the program itself, with its data in `data_dir`."""

    data_dir: Text = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConf:
    """The database of the business services."""

    data_source: Text = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; `path` is its file, `timeout` in ms, `max_conns` 0 is no limit."""

    IGNORED: ClassVar = frozenset(
        {"verbose", "maxbytes", "cputhreshold", "signature", "middlewares", "traceignorepaths"}
        | {"metricsurl", "telemetry", "profiling"}
    )

    path: str = field(default="", metadata={"key": None})
    name: Text
    host: Text = "0.0.0.0"  # noqa: S104 - what go-zero does; etc/ws.yaml says 127.0.0.1
    port: Port
    mode: Literal["dev", "test", "rt", "pre", "pro"] = "pro"
    timeout: CountOrOff = 3000
    max_conns: CountOrOff = 10000
    workers: CountOrOff = 1  # 0: one for each core
    cert_file: str = ""
    key_file: str = ""
    auth: Auth
    message_rpc: RpcConf | None = None
    friend_rpc: RpcConf | None = None
    group_rpc: RpcConf | None = None
    redis: RedisConf | None = None
    web_socket: WebSocketConf = WebSocketConf()
    push_event: PushEventConf = PushEventConf()
    log: LogConf = LogConf()
    dev_server: DevServerConf = DevServerConf()
    prometheus: PrometheusConf = PrometheusConf()
    shutdown: ShutdownConf = ShutdownConf()
    # Where the block stands it counts, also with nothing under it.
    embedded: EmbeddedConf | None = field(default=None, metadata={"bare": True})
    database: DatabaseConf | None = None

    @property
    def is_dev(self) -> bool:
        """Whether this is a trial on someone's desk, where an example secret does no harm."""
        return self.mode in ("dev", "test")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and the dotted names of the keys in its file that mean nothing here."""

    config: Config
    unknown: tuple[str, ...]


def load(path: str, *, env: bool = False) -> Loaded:
    """Read and check a configuration file; with `env`, `${NAME}` is taken from the environment.

    Raises ConfigError, whose text names the file, the key and what was wanted.
    """
    bound, unknown = bind(Config, path, read(path, env=env))
    config = replace(bound, path=path)
    _check_parts(config)
    _check_secrets(config)
    return Loaded(config, unknown)


def require_reachable(config: Config) -> None:
    """Refuse a configuration that loads, but names services in a way that cannot be followed yet.

    Raises ConfigError.
    """
    for name, rpc in _rpc_sections(config):
        if rpc is not None and not rpc.endpoints and not rpc.target:
            raise ConfigError(
                config.path,
                "is not set: discovery through Etcd is not available yet, list host:port here",
                field=f"{name}.Endpoints",
            )


def warnings(config: Config) -> list[str]:
    """Return what an operator should know about a valid configuration, a sentence each."""
    found = []
    for name, secret in _secrets(config):
        if secret and len(secret.encode()) < MIN_SECRET_BYTES:
            found.append(
                f'field "{name}" is shorter than {MIN_SECRET_BYTES} bytes and can be guessed'
            )
        if config.is_dev and _PLACEHOLDER.search(secret):
            found.append(f'field "{name}" holds a ${{NAME}}, which only --env replaces')
    if not config.is_dev and not config.push_event.secret:
        found.append('field "PushEvent.Secret" is not set: only this machine can push events')
    if config.log.compress:
        found.append('field "Log.Compress" has no effect: old log files are not compressed')
    return found


def _check_parts(config: Config) -> None:
    sections = [("Redis", config.redis), *_rpc_sections(config)]
    for name, section in sections:
        if section is None and config.embedded is None:
            raise ConfigError(config.path, "is not set", field=name)
    if config.redis is not None:
        check_redis(config.path, config.redis)
    for name, rpc in _rpc_sections(config):
        if rpc is None:
            continue
        if rpc.endpoints and rpc.target:
            raise ConfigError(config.path, "has both Endpoints and Target: set one", field=name)
        if not rpc.endpoints and not rpc.target and rpc.etcd is None:
            raise ConfigError(config.path, "is not set", field=f"{name}.Endpoints")
    if bool(config.cert_file) != bool(config.key_file):
        missing = "KeyFile" if config.cert_file else "CertFile"
        raise ConfigError(config.path, "is not set: TLS needs both files", field=missing)
    if config.web_socket.send_batch_size > MAX_BATCH:
        raise ConfigError(
            config.path,
            f"must be at most {MAX_BATCH}: the Message service takes no more at once",
            field="WebSocket.SendBatchSize",
        )
    if config.web_socket.pong_timeout <= config.web_socket.ping_interval:
        raise ConfigError(
            config.path,
            "must be more than PingInterval: idle clients would be closed before they are asked",
            field="WebSocket.PongTimeout",
        )
    if config.web_socket.node_dead_after <= config.web_socket.node_renew_interval:
        raise ConfigError(
            config.path,
            "must be more than NodeRenewInterval: nodes that live would be taken for dead",
            field="WebSocket.NodeDeadAfter",
        )


def _check_secrets(config: Config) -> None:
    if not config.auth.access_secret.strip():
        raise ConfigError(config.path, "must not be empty", field="Auth.AccessSecret")
    if config.is_dev:
        return
    for name, secret in _secrets(config):
        if secret in EXAMPLE_SECRETS:
            raise ConfigError(
                config.path,
                f'is the published example, which Mode "{config.mode}" refuses: set your own',
                field=name,
            )
        if _PLACEHOLDER.search(secret):
            raise ConfigError(
                config.path,
                "holds a ${NAME}: add --env to take it from the environment",
                field=name,
            )


def _rpc_sections(config: Config) -> list[tuple[str, RpcConf | None]]:
    return [
        ("MessageRpc", config.message_rpc),
        ("FriendRpc", config.friend_rpc),
        ("GroupRpc", config.group_rpc),
    ]


def _secrets(config: Config) -> list[tuple[str, str]]:
    return [
        ("Auth.AccessSecret", config.auth.access_secret),
        ("Auth.PrevSecret", config.auth.prev_secret),
        ("PushEvent.Secret", config.push_event.secret),
    ]
