"""TLS of gRPC, for both of its ends: certificates from files, what is on unix sockets without."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import grpc

Options = Sequence[tuple[str, str | int]]


class ClientTls(NamedTuple):
    """How a server is trusted, and what it is shown.

    `server_name` is the name that its certificate must have; empty for that of the address.
    """

    credentials: grpc.ChannelCredentials
    server_name: str = ""


def client_tls(ca_file: str, cert_file: str, key_file: str, server_name: str) -> ClientTls:
    """Read the files, each optional: whom to trust (else the system's), and an own certificate.

    Raises OSError.
    """
    ca, key, cert = map(_content, (ca_file, key_file, cert_file))
    return ClientTls(grpc.ssl_channel_credentials(ca, key, cert), server_name)


def server_credentials(
    cert_file: str, key_file: str, client_ca_file: str
) -> grpc.ServerCredentials:
    """Read what a server shows, and by whom its clients must be certified if there is a file.

    Raises OSError.
    """
    pair = (Path(key_file).read_bytes(), Path(cert_file).read_bytes())
    return grpc.ssl_server_credentials([pair], _content(client_ca_file), bool(client_ca_file))


def open_channel(
    address: str, tls: ClientTls | None, options: Options, authority: str = ""
) -> grpc.aio.Channel:
    """Open a channel; `authority` is the name by which the address was found, if by any."""
    if authority:
        options = (*options, ("grpc.default_authority", authority))
    if tls is None or address.startswith("unix"):
        return grpc.aio.insecure_channel(address, options=options)
    if name := tls.server_name or authority.rpartition(":")[0]:
        options = (*options, ("grpc.ssl_target_name_override", name))
    return grpc.aio.secure_channel(address, tls.credentials, options=options)


def _content(file: str) -> bytes | None:
    return Path(file).read_bytes() if file else None
