"""TLS to etcd."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc

from skyeim_ws.config.rpc import EtcdConf


def is_wanted(conf: EtcdConf) -> bool:
    """Tell whether the section asks for TLS."""
    return bool(conf.cert_file or conf.ca_cert_file)


async def credentials(
    conf: EtcdConf, host: str
) -> tuple[grpc.ChannelCredentials, tuple[tuple[str, str], ...]]:
    """Return what a channel to `host:port` needs: credentials and options.

    The files are read anew each time, so that they may be renewed. Raises OSError or ValueError.
    """
    options: tuple[tuple[str, str], ...] = ()
    roots: bytes | None
    if conf.insecure_skip_verify:
        roots, name = await _shown(conf, host)
        options = (("grpc.ssl_target_name_override", name),)
    else:
        roots = _content(conf.ca_cert_file)
    key, chain = _content(conf.cert_key_file), _content(conf.cert_file)
    return grpc.ssl_channel_credentials(roots, key, chain), options


def _content(file: str) -> bytes | None:
    return Path(file).read_bytes() if file else None


async def _shown(conf: EtcdConf, host: str) -> tuple[bytes, str]:
    """Return the certificate that the server shows, and a name that is in it.

    grpcio verifies always. With these two it accepts whoever is there, which is what was asked for.
    """
    name, _, port = host.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if conf.cert_file:
        context.load_cert_chain(conf.cert_file, conf.cert_key_file)

    async def handshake() -> ssl.SSLObject:
        _, writer = await asyncio.open_connection(name.strip("[]"), int(port), ssl=context)
        try:
            found: ssl.SSLObject = writer.get_extra_info("ssl_object")
            return found
        finally:
            writer.close()

    shown = (await handshake()).getpeercert(binary_form=True)
    if shown is None:
        raise ValueError("the server shows no certificate")
    pem = ssl.DER_cert_to_PEM_cert(shown)
    # Python reads the names in a certificate only if it was verified: here, against itself.
    context.load_verify_locations(cadata=pem)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_REQUIRED
    name_in_it = _any_name((await handshake()).getpeercert() or {})
    if not name_in_it:
        raise ValueError("the certificate of the server has no name in it")
    return pem.encode(), name_in_it


def _any_name(certificate: Any) -> str:
    """Return a name that a certificate is for, as `SSLSocket.getpeercert` decodes it."""
    for _, name in certificate.get("subjectAltName", ()):
        return str(name)
    subject = dict(pair for part in certificate.get("subject", ()) for pair in part)
    return str(subject.get("commonName", ""))
