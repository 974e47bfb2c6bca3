"""What `check --strict` refuses besides: what loads, and will not work on this machine."""

import os
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from skyeim_ws.config import telemetry
from skyeim_ws.config.check import Loaded
from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.rpc import EtcdConf, RpcConf
from skyeim_ws.config.tree import Config

_HOST_AND_PORT = re.compile(r"(\[[^\]]+\]|[^:/]+):\d+")
_GRPC_SCHEME = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|xds|direct|etcd|discov):")


def problems(loaded: Loaded) -> list[ConfigError]:
    """Return all that is refused, in the order of the checks; nothing is started or written."""
    config = loaded.config
    found = [ConfigError(config.path, "is not known", field=name) for name in loaded.unknown]
    found += [
        ConfigError(config.path, "has no effect: leave it out", field=name)
        for name in loaded.ignored
    ]
    found += [
        ConfigError(config.path, problem, field=field)
        for field, problem in (
            *_certificates(config),
            *_addresses(config),
            *_folders(config),
            *telemetry.problems(config.telemetry),
        )
    ]
    return found


def _certificates(config: Config) -> Iterator[tuple[str, str]]:
    services = config.services
    yield from _pair("CertFile", config.cert_file, config.key_file)
    yield from _pair("Services.CertFile", services.cert_file, services.key_file)
    yield from _authority("Services.ClientCAFile", services.client_ca_file)
    etcds: list[tuple[str, EtcdConf | None]] = [("Etcd", config.etcd)]
    for name, rpc in _rpcs(config):
        etcds.append((f"{name}.Etcd", rpc.etcd))
        if rpc.tls is not None:
            yield from _pair(f"{name}.Tls.CertFile", rpc.tls.cert_file, rpc.tls.key_file)
            yield from _authority(f"{name}.Tls.CACertFile", rpc.tls.ca_cert_file)
    for name, etcd in etcds:
        if etcd is not None:
            yield from _pair(f"{name}.CertFile", etcd.cert_file, etcd.cert_key_file)
            yield from _authority(f"{name}.CACertFile", etcd.ca_cert_file)


def _pair(field: str, cert_file: str, key_file: str) -> Iterator[tuple[str, str]]:
    if cert_file:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        yield from _tried(
            field,
            # Without a password: nobody would be there to type it.
            lambda: context.load_cert_chain(cert_file, key_file, password=lambda: b""),
            f"{cert_file} and the key {key_file} cannot be used together",
        )


def _authority(field: str, file: str) -> Iterator[tuple[str, str]]:
    if file:
        context = ssl.create_default_context()
        tried: Callable[[], object] = lambda: context.load_verify_locations(file)  # noqa: E731
        yield from _tried(field, tried, f"{file} cannot be used")


def _tried(field: str, attempt: Callable[[], object], problem: str) -> Iterator[tuple[str, str]]:
    try:
        attempt()
    except (OSError, ValueError) as error:
        yield field, f"{problem}: {getattr(error, 'strerror', None) or error}"


def _addresses(config: Config) -> Iterator[tuple[str, str]]:
    for name, rpc in _rpcs(config):
        named = [("Endpoints", each) for each in rpc.endpoints]
        named += [("Target", rpc.target)] if rpc.target else []
        for key, address in named:
            if not (_HOST_AND_PORT.fullmatch(address) or _GRPC_SCHEME.match(address)):
                yield f"{name}.{key}", f'has "{address}", which is neither host:port nor unix:/path'


def _folders(config: Config) -> Iterator[tuple[str, str]]:
    if config.log.mode != "console":
        yield from _writable("Log.Path", Path(config.log.path))
    if config.embedded is not None:
        yield from _writable("Embedded.DataDir", Path(config.embedded.data_dir))


def _writable(field: str, folder: Path) -> Iterator[tuple[str, str]]:
    folder = folder.absolute()
    # What is missing will be made, in the first folder above it that is there.
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir():
        yield field, f"cannot be used: {there} is no folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield field, f"cannot be used: this user may not write to {there}"


def _rpcs(config: Config) -> list[tuple[str, RpcConf]]:
    return [(name, rpc) for name, rpc in config.rpcs.items() if rpc is not None]
