"""Loads a configuration file, and checks what the types of its fields do not say."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass, replace

from skyeim_ws.config.errors import ConfigError, shown
from skyeim_ws.config.loader import bind
from skyeim_ws.config.redis import check_redis
from skyeim_ws.config.rpc import check_etcd, check_pair, check_rpc
from skyeim_ws.config.tree import Config, ServicesConf
from skyeim_ws.config.webhook import check_webhook
from skyeim_ws.config.yaml_file import read
from skyeim_ws.contract.names import LONGEST_FRAME, MAX_BATCH, MAX_CONTENT
from skyeim_ws.contract.origins import OriginList

PUBLISHED_SECRETS = frozenset(
    {
        # The one in etc/ of this project.
        "d35afa38023437cf362a6ded0597b354f2a03c0b94e146e6c1dce45d4b6e2962",
        # Those of the public SkyeIM repository: of tokens, refresh tokens and pushes.
        "fd4dea88ba8241a961e84353e9e5e27f6fe5dc92815ceb15af1e3b92584bcc39",
        "a72075c0e6d53e93577f2f817b4e702021005f73561774140db5dfa31c89366e",
        "2eb8a5370e67c733d96c60925fccf93cdff78be9f88446384a8da1134906439b",
    }
)
"""The SHA-256 of secrets that anyone can read; whoever knows one could log in as anyone."""

MIN_SECRET_BYTES = 32
"""RFC 7518, section 3.2: a key of HS256 is no shorter than its hash."""

_PLACEHOLDER = re.compile(r"\$\{\w+\}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and the dotted names of the keys in its file that it does not take.

    `ignored` are those that go-zero knows, and that have no effect here.
    """

    config: Config
    unknown: tuple[str, ...]
    ignored: tuple[str, ...]


def load(path: str, *, env: bool = False) -> Loaded:
    """Read and check a configuration file; with `env`, `${NAME}` is taken from the environment.

    Raises ConfigError, whose text names the file, the key and what was wanted.
    """
    bound, leftover = bind(Config, path, read(path, env=env))
    config = replace(bound, path=path, env=env)
    check(config)
    return Loaded(config, tuple(leftover.unknown), tuple(leftover.ignored))


def check(config: Config) -> None:
    """Check what the types of the fields do not say; raises ConfigError."""
    _check_parts(config)
    _check_edge(config)
    _check_secrets(config)


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
        found.append(
            'field "PushEvent.Secret" is not set: only services that the program starts itself '
            "can push events"
        )
    if config.web_socket.max_message_size < LONGEST_FRAME:
        found.append(
            f'field "WebSocket.MaxMessageSize" is less than {LONGEST_FRAME}: a message of '
            f"{MAX_CONTENT} characters may not fit"
        )
    return found


def _check_parts(config: Config) -> None:
    sections = [("Redis", config.redis), *config.rpcs.items()]
    for name, section in sections:
        if section is None and config.embedded is None:
            raise ConfigError(config.path, "is not set", field=name)
    if config.redis is not None:
        check_redis(config.path, config.redis)
    for name, rpc in config.rpcs.items():
        if rpc is not None:
            check_rpc(config.path, name, rpc)
    if config.etcd is not None:
        check_etcd(config.path, "Etcd", config.etcd)
    check_pair(config.path, "", config.cert_file, config.key_file)
    _check_services(config.path, config.services)
    check_webhook(config.path, config.offline.webhook)
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


def _check_services(path: str, services: ServicesConf) -> None:
    """Refuse half of what TLS needs; raises ConfigError."""
    check_pair(path, "Services.", services.cert_file, services.key_file)
    if services.client_ca_file and not services.cert_file:
        problem = "is not set: only over TLS clients show a certificate"
        raise ConfigError(path, problem, field="Services.CertFile")


def _check_edge(config: Config) -> None:
    try:
        OriginList(config.web_socket.origins)
    except ValueError as error:
        raise ConfigError(config.path, f"has {error}", field="WebSocket.Origins") from None
    for proxy in config.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            wanted = "neither an address nor a network such as 10.0.0.0/8"
            problem = f'has "{shown(proxy)}", which is {wanted}'
            raise ConfigError(config.path, problem, field="TrustedProxies") from None


def _check_secrets(config: Config) -> None:
    if not config.auth.access_secret.strip():
        raise ConfigError(config.path, "must not be empty", field="Auth.AccessSecret")
    if config.is_dev:
        return
    for name, secret in _secrets(config):
        if hashlib.sha256(secret.encode()).hexdigest() in PUBLISHED_SECRETS:
            raise ConfigError(
                config.path,
                f'is a published example, which Mode "{config.mode}" refuses: set your own',
                field=name,
            )
        if _PLACEHOLDER.search(secret):
            raise ConfigError(
                config.path,
                "holds a ${NAME}: add --env to take it from the environment",
                field=name,
            )


def _secrets(config: Config) -> list[tuple[str, str]]:
    return [
        ("Auth.AccessSecret", config.auth.access_secret),
        ("Auth.PrevSecret", config.auth.prev_secret),
        ("PushEvent.Secret", config.push_event.secret),
        ("Offline.Webhook.Secret", config.offline.webhook.secret),
    ]
