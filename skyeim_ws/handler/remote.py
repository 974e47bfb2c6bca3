"""Where a request comes from: its client's address, and the marks of a proxy or a browser."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from tornado.httputil import HTTPHeaders

_PROXY_HEADERS = (
    *("X-Real-IP", "Forwarded", "Via", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"),
    *("X-Cluster-Client-IP", "Fastly-Client-IP"),
)
_BROWSER_HEADERS = ("Origin", "Sec-Fetch-Site")


class TrustedProxies:
    """The proxies, as addresses and networks, whose word on a client's address is taken."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = tuple(ip_network(network, strict=False) for network in networks)

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        parsed = _address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_address(self, peer: str, headers: Mapping[str, str]) -> str:
        """Return the address of the client behind the TCP peer.

        Each proxy adds to the end of X-Forwarded-For whom it has heard, so the entries are
        believed from the end, as long as a trusted proxy wrote them. X-Real-IP counts where there
        is no X-Forwarded-For.
        """
        if peer not in self:
            return peer
        forwarded = headers.get("X-Forwarded-For", "") or headers.get("X-Real-IP", "")
        client = peer
        for entry in reversed(forwarded.split(",")):
            parsed = _address(entry.strip())
            if parsed is None:
                break
            client = str(parsed)
            if client not in self:
                break
        return client


def is_forwarded(headers: HTTPHeaders) -> bool:
    """Whether a request shows a header that proxies add."""
    return any(name in headers for name in _PROXY_HEADERS) or any(
        name.lower().startswith("x-forwarded-") for name in headers
    )


def is_from_browser(headers: HTTPHeaders) -> bool:
    """Whether a request shows a header that only browsers send."""
    return any(name in headers for name in _BROWSER_HEADERS)


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    parsed = _address(address)
    return parsed is not None and parsed.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed
