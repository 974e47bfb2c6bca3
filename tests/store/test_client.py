"""Addresses of Redis, and what is refused."""

from typing import Any

import pytest

from skyeim_ws.store.client import connect, connect_cluster, connect_sentinel


def options(address: str, **extra: Any) -> dict[str, Any]:
    return dict(connect(address, **extra).connection_pool.connection_kwargs)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("localhost:6380", "localhost", 6380),
        ("redis", "redis", 6379),
        ("[::1]:7000", "::1", 7000),
        ("10.0.0.1:0", "10.0.0.1", 0),
    ],
)
def test_host_and_port(address: str, host: str, port: int) -> None:
    found = options(address, username="u", password="p")
    assert (host, port) == (found["host"], found["port"])
    assert (found["username"], found["password"]) == ("u", "p")


@pytest.mark.parametrize("address", ["/run/redis.sock", "unix:///run/redis.sock"])
def test_a_path_is_a_unix_socket(address: str) -> None:
    assert options(address)["path"] == "/run/redis.sock"


def test_an_empty_password_is_none() -> None:
    found = options("localhost:1")
    assert found["username"] is None
    assert found["password"] is None


def test_tls_is_verified() -> None:
    client = connect("localhost:1", tls=True)
    assert client.connection_pool.connection_class.__name__ == "SSLConnection"
    assert client.connection_pool.connection_kwargs.get("ssl_cert_reqs") == "required"


def test_commands_are_never_retried_by_the_library() -> None:
    assert options("localhost:1")["retry"].get_retries() == 0


@pytest.mark.parametrize("address", ["", "a:b", "a:1,b:2", "u:p@h:1", "h:1/0", "h:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not a Redis address"):
        connect(address)


@pytest.mark.parametrize("address", ["", "a:1,", "a:1;b:2", "/run/redis.sock"])
def test_of_a_cluster_every_node_has_to_be_an_address(address: str) -> None:
    with pytest.raises(ValueError, match="not a Redis address"):
        connect_cluster(address)


def test_every_sentinel_has_to_be_an_address() -> None:
    with pytest.raises(ValueError, match="not a Redis address"):
        connect_sentinel(["a:1", "b:c"], "main")
