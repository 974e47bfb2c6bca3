"""The client of a Redis: whom it connects to, and with what."""

from typing import Any

import pytest

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.contract.redis_client import open_server

PASSWORD = "p@ss:w/rd?#,"


def options(host: str, **more: Any) -> dict[str, Any]:
    client = open_server(RedisAddress(hosts=(host,), **more), 2, 1)
    return dict(client.connection_pool.connection_kwargs)


def test_one_server() -> None:
    found = options("h:1", user="u", password=PASSWORD)
    assert (found["host"], found["port"]) == ("h", 1)
    assert (found["username"], found["password"]) == ("u", PASSWORD)


@pytest.mark.parametrize("address", ["/run/redis.sock", "unix:///run/redis.sock"])
def test_a_path_is_a_unix_socket(address: str) -> None:
    assert options(address)["path"] == "/run/redis.sock"


def test_an_empty_password_is_none() -> None:
    found = options("localhost:1")
    assert found["username"] is None
    assert found["password"] is None


def test_tls_is_verified() -> None:
    client = open_server(RedisAddress(hosts=("localhost:1",), tls=True), 2, 1)
    assert client.connection_pool.connection_class.__name__ == "SSLConnection"
    assert client.connection_pool.connection_kwargs.get("ssl_cert_reqs") == "required"


def test_commands_are_never_retried_by_the_library() -> None:
    assert options("localhost:1")["retry"].get_retries() == 0


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="not a Redis address"):
        options("a:b")
    with pytest.raises(ValueError, match="not a Redis address"):
        open_server(RedisAddress(hosts=("a:1", "b:c"), kind="sentinel", master="main"), 2, 1)


@pytest.mark.gen_test
async def test_a_master_that_sentinels_know() -> None:
    address = RedisAddress(
        hosts=("s1:1", "s2"),
        kind="sentinel",
        master="my/master",
        user="u",
        password="other",
        sentinel_password=PASSWORD,
    )
    client = open_server(address, 2, 0.5)
    pool: Any = client.connection_pool
    assert pool.service_name == "my/master"
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == (
        "u",
        "other",
    )
    sentinels = [s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels]
    assert [(s["host"], s["port"]) for s in sentinels] == [("s1", 1), ("s2", 26379)]
    assert {(s["username"], s["password"]) for s in sentinels} == {(None, PASSWORD)}
    assert {s["socket_timeout"] for s in sentinels} == {0.5}
    await client.aclose()
