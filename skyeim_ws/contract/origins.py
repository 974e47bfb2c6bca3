"""Origins of web pages, and the patterns of a configuration that allow some of them."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

_ORIGIN = re.compile(
    r"""(?x)
    (?P<scheme>[a-z][a-z0-9+.-]*)://
    (?P<host> \[[0-9a-f:.]+\] | (?:[a-z0-9_-]+\.)*[a-z0-9_-]+ | )
    (?: : (?P<port>[0-9]{1,5}) )?
    """,
    re.ASCII,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
_ANY_HOST_BELOW = "://*."


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a page; 0 where its scheme has no port."""

    scheme: str
    host: str
    port: int


def parse_origin(text: str) -> Origin | None:
    """Return the origin that a browser names, or None for what is none, `null` included."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, written = match["scheme"], match["host"], match["port"]
    port = int(written) if written else _DEFAULT_PORTS.get(scheme, 0)
    # Only schemes of the web must name a host; a page in a file or an app may have none.
    if port > _MAX_PORT or (not host and (written or scheme in _DEFAULT_PORTS)):
        return None
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    return Origin(scheme, host, port)


class OriginList:
    """The origins that are allowed, each such as `https://*.example.com:8443`.

    A leading `*.` stands for any names below the host, and not for the host itself. Raises
    ValueError, with the pattern in its text, if it is not such a pattern.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact: set[Origin] = set()
        self._below: list[Origin] = []
        for pattern in patterns:
            below = _ANY_HOST_BELOW in pattern
            origin = parse_origin(pattern.replace(_ANY_HOST_BELOW, "://", 1))
            if origin is None or (below and (not origin.host or origin.host.startswith("["))):
                raise ValueError(
                    f'"{pattern[:60]}" is no origin such as https://*.example.com:8443'
                )
            if below:
                self._below.append(origin)
            else:
                self._exact.add(origin)

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)

    def __contains__(self, origin: Origin) -> bool:
        return origin in self._exact or any(
            (origin.scheme, origin.port) == (allowed.scheme, allowed.port)
            and origin.host.endswith("." + allowed.host)
            for allowed in self._below
        )
