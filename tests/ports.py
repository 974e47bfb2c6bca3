"""Ports for servers that start later, or again: nobody else takes them in between."""

import random
import socket

PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to outgoing connections.

Else one could get the port of a server that is dead for a moment, even one that is meant for that
server and so reaches itself."""


def free_port() -> int:
    """Return a port of loopback that belongs to this process until it ends."""
    for port in random.sample(PORTS, len(PORTS)):
        # Whichever process of whichever run has this abstract name has the port.
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0skyeim-tests-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        claim.detach()  # the kernel closes it at the end of the process
        return port
    raise AssertionError("no port is free")
