"""What the kernel has counted of a connection: it costs nothing until somebody asks."""

import socket
import struct
from typing import NamedTuple

_ESTABLISHED = 1

_SIZE = 136
# `struct tcp_info` of linux/tcp.h: tcpi_rtt, tcpi_total_retrans, and after the pacing rates
# tcpi_bytes_acked and tcpi_bytes_received. Fields are only ever added behind those.
_FIELDS = struct.Struct("=68xI28xI16xQQ")


class Traffic(NamedTuple):
    """Bytes of TCP both ways, the handshake and TLS included; `rtt` in seconds."""

    received: int
    acknowledged: int
    """Of what was sent, what the other side has."""
    rtt: float
    retransmits: int


def traffic(connection: socket.socket) -> Traffic | None:
    """Return what has passed; None if the kernel does not say."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return None
    if len(info) < _SIZE:
        return None
    rtt, retransmits, acknowledged, received = _FIELDS.unpack(info)
    return Traffic(received, acknowledged, rtt / 1e6, retransmits)


def is_open(connection: socket.socket) -> bool:
    """Return whether neither side has closed; True if the kernel does not say."""
    try:
        [state] = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return True
    return state == _ESTABLISHED
