"""The sections of the configuration and their keys, as a frozen typed tree.

Sections are dataclasses; `config/loader.py` says how their fields are read. Times are seconds
unless a name or a comment says milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from skyeim_ws.config.kinds import Count, CountOrOff, Port, SecondsOrNone, Text
from skyeim_ws.config.loader import NO_EFFECT
from skyeim_ws.config.log import LogConf
from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import EtcdConf, RpcConf
from skyeim_ws.config.telemetry import TelemetryConf
from skyeim_ws.config.trace import TraceConf
from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.config.webhook import OfflineConf


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How tokens are signed; `prev_secret` is still accepted while a secret is being changed."""

    access_secret: Text = field(repr=False)
    access_expire: Count = field(default=7 * 86400, metadata=NO_EFFECT)
    prev_secret: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, str]:
        """Whatever may have signed a token; the second one may be empty."""
        return self.access_secret, self.prev_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusConf:
    """A server for metrics alone; without `host` there is none."""

    host: str = ""
    port: Port = 9101
    path: Text = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesConf:
    """TLS of our own business services, where they listen on TCP, and their metrics.

    With a `client_ca_file` only those are served whose certificate is from there.
    """

    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = field(default="", metadata={"key": "ClientCAFile"})
    prometheus: PrometheusConf = PrometheusConf()


@dataclass(frozen=True, slots=True, kw_only=True)
class PushEventConf:
    """The secret that services show when they push events.

    `own_secret` is not in the file: the program makes it for the services that it starts itself.
    """

    secret: str = field(default="", repr=False)
    own_secret: str = field(default="", repr=False, metadata={"key": None})


@dataclass(frozen=True, slots=True, kw_only=True)
class DevServerConf:
    """The server for operators: health and metrics, away from the users' port."""

    IGNORED: ClassVar = frozenset({"enablemetrics", "healthresponse"})

    enabled: bool = False
    host: Text = "127.0.0.1"
    port: Port = 6060
    health_path: Text = "/healthz"
    ready_path: Text = "/readyz"
    enable_pprof: bool = False
    metrics_path: Text = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConf:
    """The chat page; unless said otherwise, there is one in the modes `dev` and `test` alone."""

    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownConf:
    """How long a stop takes: what `pre_stop`, `wrap_up_time` and `wait_time` are together.

    A node can take `login_rate` logins in a second besides its work.
    """

    pre_stop: SecondsOrNone = 0.0
    wrap_up_time: SecondsOrNone = 1.0
    wait_time: SecondsOrNone = 5.5
    login_rate: Count = 200


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
    """The whole configuration; `timeout` in ms, `max_conns` 0 is no limit.

    `path` is its file, and `env` says whether `${NAME}` in it is replaced.

    The gateway announces itself in `etcd`, and what listens on all addresses as `advertise_host`.
    """

    IGNORED: ClassVar = frozenset(
        {"verbose", "maxbytes", "cputhreshold", "signature", "middlewares", "traceignorepaths"}
        | {"metricsurl", "profiling"}
    )

    path: str = field(default="", metadata={"key": None})
    env: bool = field(default=False, metadata={"key": None})
    # Said by the command `demo` alone: there are sample users, and anybody may be one of them.
    demo: bool = field(default=False, metadata={"key": None})
    # Of a worker: where it answers its parent, who answers operators.
    operators_socket: str = field(default="", metadata={"key": None})
    name: Text
    host: Text = "0.0.0.0"  # noqa: S104 - what go-zero does; etc/ws.yaml says 127.0.0.1
    port: Port
    mode: Literal["dev", "test", "rt", "pre", "pro"] = "pro"
    language: Literal["en", "zh"] = "en"
    timeout: CountOrOff = field(default=3000, metadata=NO_EFFECT)
    max_conns: CountOrOff = 10000
    workers: CountOrOff = 1  # 0: one for each core
    trusted_proxies: tuple[str, ...] = ()
    cert_file: str = ""
    key_file: str = ""
    auth: Auth
    etcd: EtcdConf | None = None
    advertise_host: str = ""
    message_rpc: RpcConf | None = None
    friend_rpc: RpcConf | None = None
    group_rpc: RpcConf | None = None
    redis: RedisConf | None = None
    web_socket: WebSocketConf = WebSocketConf()  # noqa: RUF009 - it is frozen
    offline: OfflineConf = OfflineConf()  # noqa: RUF009 - it is frozen
    push_event: PushEventConf = PushEventConf()
    log: LogConf = LogConf()  # noqa: RUF009 - it is frozen
    dev_server: DevServerConf = DevServerConf()
    prometheus: PrometheusConf = PrometheusConf()
    # Where the block stands work is traced, also with nothing under it.
    telemetry: TelemetryConf | None = field(default=None, metadata={"bare": True})
    trace: TraceConf = TraceConf()  # noqa: RUF009 - it is frozen
    shutdown: ShutdownConf = ShutdownConf()
    web: WebConf = WebConf()
    # Where the block stands it counts, also with nothing under it.
    embedded: EmbeddedConf | None = field(default=None, metadata={"bare": True})
    database: DatabaseConf | None = None
    services: ServicesConf = ServicesConf()

    @property
    def local_host(self) -> str:
        """The host by which this machine reaches the gateway, as it stands in a URL."""
        everywhere = self.host in ("", "0.0.0.0", "::")  # noqa: S104 - recognized, not bound
        host = "127.0.0.1" if everywhere else self.host
        return f"[{host}]" if ":" in host else host

    def local_url(self, scheme: Literal["http", "ws"]) -> str:
        """Return where this machine reaches the gateway, over TLS if that is on."""
        return f"{scheme}{'s' if self.cert_file else ''}://{self.local_host}:{self.port}"

    @property
    def rpcs(self) -> dict[str, RpcConf | None]:
        """How the services are reached, by the keys of their sections."""
        return {
            "MessageRpc": self.message_rpc,
            "FriendRpc": self.friend_rpc,
            "GroupRpc": self.group_rpc,
        }

    @property
    def is_dev(self) -> bool:
        """Whether this is a trial on someone's desk, where an example secret does no harm."""
        return self.mode in ("dev", "test")

    @property
    def named_log(self) -> LogConf:
        """The settings of the log, with the name of the service on lines for machines."""
        if self.log.encoding == "plain":
            return self.log
        return replace(self.log, service_name=self.log.service_name or self.name)

    @property
    def shows_metrics(self) -> bool:
        """Whether operators can ask the gateway anything."""
        return self.dev_server.enabled or bool(self.prometheus.host)

    @property
    def named_telemetry(self) -> TelemetryConf | None:
        """Where spans are exported, with the name of the service."""
        if self.telemetry is None:
            return None
        return replace(self.telemetry, name=self.telemetry.name or self.name)

    @property
    def has_page(self) -> bool:
        """Whether the gateway serves the chat page."""
        return self.is_dev if self.web.enabled is None else self.web.enabled


@dataclass(frozen=True, slots=True)
class Backends:
    """Where Redis and the services are, whoever started them."""

    redis: RedisConf
    message_rpc: RpcConf
    friend_rpc: RpcConf
    group_rpc: RpcConf
    private_redis: bool
    """No other process than the one that has started this Redis has been told of it."""
    neighbours: Mapping[str, str] = field(default_factory=dict)
    """The processes that were started and show metrics: the path of a socket by name."""
