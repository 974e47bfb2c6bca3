"""How a service is found: listed or in etcd, with TLS or without, and what makes sense in it."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.kinds import Count, CountOrOff
from skyeim_ws.config.loader import NO_EFFECT

ETCD_SCHEMES = ("etcd", "discov")
"""Of a `Target`: `etcd://host:port,host:port/key`."""

_SCHEMES = {"dns", "direct", "unix", "unix-abstract", "ipv4", "ipv6", "xds", *ETCD_SCHEMES}


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdConf:
    """Where services announce their addresses, as go-zero does: `host:port` under `key/`.

    TLS is used if a certificate or a CA is given. `instance` takes the place of the lease in the
    name of a key of ours.
    """

    hosts: tuple[str, ...] = ()
    key: str = ""
    instance: CountOrOff = field(default=0, metadata={"key": "ID"})
    user: str = ""
    password: str = field(default="", repr=False, metadata={"key": "Pass"})
    cert_file: str = ""
    cert_key_file: str = ""
    ca_cert_file: str = field(default="", metadata={"key": "CACertFile"})
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcTlsConf:
    """TLS to a business service; where the block stands it counts, also with nothing under it.

    Without `ca_cert_file` what the system trusts is trusted; without `server_name` the certificate
    must have the name of the address.
    """

    ca_cert_file: str = field(default="", metadata={"key": "CACertFile"})
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcConf:
    """How one business service is reached; `timeout` in milliseconds.

    Of `endpoints`, `target` and `etcd` the first one that is set counts.
    """

    IGNORED: ClassVar = frozenset({"app", "token", "keepalivetime", "middlewares", "balancername"})

    endpoints: tuple[str, ...] = ()
    target: str = ""
    etcd: EtcdConf | None = None
    tls: RpcTlsConf | None = field(default=None, metadata={"bare": True})
    timeout: Count = 2000
    non_block: bool = field(default=True, metadata=NO_EFFECT)

    @property
    def targets(self) -> tuple[str, ...]:
        """The gRPC targets that are listed; none if `registry` knows them."""
        if self.target.startswith("direct:///"):
            return tuple(self.target.removeprefix("direct:///").split(","))
        return self.endpoints or (() if self.registry or not self.target else (self.target,))

    @property
    def registry(self) -> EtcdConf | None:
        """The etcd that knows the addresses, if they are not listed."""
        if self.endpoints:
            return None
        scheme, _, place = self.target.partition("://")
        if scheme in ETCD_SCHEMES:
            hosts, _, key = place.partition("/")
            return replace(self.etcd or EtcdConf(), hosts=tuple(hosts.split(",")), key=key)
        return None if self.target else self.etcd


def check_rpc(path: str, name: str, rpc: RpcConf) -> None:
    """Refuse a section that does not say where its service is; raises ConfigError."""
    if rpc.endpoints and rpc.target:
        raise ConfigError(path, "has both Endpoints and Target: set one", field=name)
    if not rpc.endpoints and not rpc.target and rpc.etcd is None:
        raise ConfigError(path, "is not set", field=f"{name}.Endpoints")
    scheme, separator, _ = rpc.target.partition("://")
    if separator and scheme not in _SCHEMES:
        problem = f'has a scheme that is not known, "{scheme}": use dns:/// or etcd://'
        raise ConfigError(path, problem, field=f"{name}.Target")
    if rpc.registry is not None:
        check_etcd(path, f"{name}.Target" if rpc.target else f"{name}.Etcd", rpc.registry)
    if rpc.tls is not None:
        check_pair(path, f"{name}.Tls.", rpc.tls.cert_file, rpc.tls.key_file)


def check_pair(path: str, prefix: str, cert_file: str, key_file: str) -> None:
    """Refuse a certificate without its key and the reverse; raises ConfigError."""
    if bool(cert_file) != bool(key_file):
        missing = "KeyFile" if cert_file else "CertFile"
        raise ConfigError(path, "is not set: TLS needs both files", field=prefix + missing)


def check_etcd(path: str, name: str, etcd: EtcdConf) -> None:
    """Refuse a section that names no etcd, or no key in it; raises ConfigError."""
    if not etcd.key.strip("/"):
        raise ConfigError(path, "is not set", field=f"{name}.Key")
    if not etcd.hosts:
        raise ConfigError(path, "is not set", field=f"{name}.Hosts")
    for host in etcd.hosts:
        address, colon, port = host.rpartition("://")[2].rpartition(":")
        if not address or not colon or not port.isdecimal():
            problem = f'must be a list of host:port, found "{host}"'
            raise ConfigError(path, problem, field=f"{name}.Hosts")
    if bool(etcd.cert_file) != bool(etcd.cert_key_file):
        missing = "CertKeyFile" if etcd.cert_file else "CertFile"
        problem = "is not set: a certificate needs its key"
        raise ConfigError(path, problem, field=f"{name}.{missing}")
