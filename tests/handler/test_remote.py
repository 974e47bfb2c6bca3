"""Whose word on a client's address is taken, and what marks a proxy or a browser."""

import pytest
from tornado.httputil import HTTPHeaders

from skyeim_ws.handler.remote import (
    TrustedProxies,
    is_forwarded,
    is_from_browser,
    is_loopback,
)

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.7", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("203.0.113.9", {}, "203.0.113.9"),
        # Anybody can write a header; only a proxy that is trusted is believed.
        ("203.0.113.9", {"X-Forwarded-For": "1.2.3.4"}, "203.0.113.9"),
        ("203.0.113.9", {"X-Real-IP": "1.2.3.4"}, "203.0.113.9"),
        ("10.1.2.3", {}, "10.1.2.3"),
        ("10.1.2.3", {"X-Forwarded-For": "203.0.113.9"}, "203.0.113.9"),
        ("10.1.2.3", {"X-Real-IP": "203.0.113.9"}, "203.0.113.9"),
        ("fd00::1", {"X-Forwarded-For": "2001:db8::1"}, "2001:db8::1"),
        ("::ffff:10.1.2.3", {"X-Forwarded-For": "203.0.113.9"}, "203.0.113.9"),
        # What stands before the entry of a trusted proxy was written by the client.
        ("10.1.2.3", {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}, "203.0.113.9"),
        ("10.1.2.3", {"X-Forwarded-For": "6.6.6.6,203.0.113.9,192.0.2.7"}, "203.0.113.9"),
        ("10.1.2.3", {"X-Forwarded-For": "10.9.9.9, 10.8.8.8"}, "10.9.9.9"),
        ("10.1.2.3", {"X-Forwarded-For": "not an address"}, "10.1.2.3"),
        ("10.1.2.3", {"X-Forwarded-For": "6.6.6.6, \x00, 192.0.2.7"}, "192.0.2.7"),
    ],
)
def test_the_client_is_whom_the_last_trusted_proxy_has_heard(
    peer: str, headers: dict[str, str], client: str
) -> None:
    assert PROXIES.client_address(peer, HTTPHeaders(headers)) == client


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Anything", "X-Real-IP", "Forwarded"),
        *("Via", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"),
    ],
)
def test_what_proxies_add_is_known(name: str) -> None:
    assert is_forwarded(HTTPHeaders({name: "x"}))
    assert not is_forwarded(HTTPHeaders({"Host": "x", "X-Forward": "x"}))


def test_what_browsers_add_is_known() -> None:
    for name in ("origin", "Sec-Fetch-Site"):
        assert is_from_browser(HTTPHeaders({name: "x"}))
    assert not is_from_browser(HTTPHeaders({"User-Agent": "Mozilla/5.0"}))


def test_loopback_is_this_machine_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("10.0.0.1", "0.0.0.0", "", "localhost", "::2")))
