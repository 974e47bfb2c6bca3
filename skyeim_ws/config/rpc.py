"""Checks the configuration of how services are found, as far as the types of fields do not."""

from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.tree import ETCD_SCHEMES, EtcdConf, RpcConf, ServicesConf

_SCHEMES = {"dns", "direct", "unix", "unix-abstract", "ipv4", "ipv6", "xds", *ETCD_SCHEMES}


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


def check_services(path: str, services: ServicesConf) -> None:
    """Refuse half of what TLS needs; raises ConfigError."""
    check_pair(path, "Services.", services.cert_file, services.key_file)
    if services.client_ca_file and not services.cert_file:
        problem = "is not set: only over TLS clients show a certificate"
        raise ConfigError(path, problem, field="Services.CertFile")


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
