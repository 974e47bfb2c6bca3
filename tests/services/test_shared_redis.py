"""The addresses under which the services find the Redis that the gateway is configured with."""

from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster

from skyeim_ws.config.redis import RedisConf, SentinelConf
from skyeim_ws.process.embedded import redis_url
from skyeim_ws.services.shared_redis import open_redis

PASSWORD = "p@ss:w/rd?#,"


def single(conf: RedisConf) -> dict[str, Any]:
    client = open_redis(redis_url(conf))
    assert isinstance(client, Redis)
    return dict(client.connection_pool.connection_kwargs)


def test_one_server() -> None:
    found = single(RedisConf(host="h:1", user="u", password=PASSWORD))
    assert (found["host"], found["port"]) == ("h", 1)
    assert (found["username"], found["password"]) == ("u", PASSWORD)
    assert single(RedisConf(host="/run/redis.sock"))["path"] == "/run/redis.sock"


@pytest.mark.gen_test
async def test_a_cluster() -> None:
    conf = RedisConf(
        host="10.0.0.1:1, 10.0.0.2", type="cluster", user="u", password=PASSWORD, tls=True
    )
    client = open_redis(redis_url(conf))
    assert isinstance(client, RedisCluster)
    assert list(client.nodes_manager.startup_nodes) == ["10.0.0.1:1", "10.0.0.2:6379"]
    found = client.get_connection_kwargs()
    assert (found["username"], found["password"]) == ("u", PASSWORD)
    assert found["connection_class"].__name__ == "SSLConnection"  # type: ignore[union-attr]


@pytest.mark.gen_test
async def test_a_master_that_sentinels_know() -> None:
    asked = SentinelConf(hosts=("s1:1", "s2"), master="my/master", password=PASSWORD)
    client = open_redis(redis_url(RedisConf(sentinel=asked, password="other")))
    assert isinstance(client, Redis)
    pool: Any = client.connection_pool
    assert pool.service_name == "my/master"
    assert pool.connection_kwargs["password"] == "other"
    sentinels = [s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels]
    assert [(s["host"], s["port"]) for s in sentinels] == [("s1", 1), ("s2", 26379)]
    assert {s["password"] for s in sentinels} == {PASSWORD}
    await client.aclose()


@pytest.mark.parametrize("hosts", ["", "a:1,", "a:b"])
def test_what_is_no_address_is_refused(hosts: str) -> None:
    with pytest.raises(ValueError, match=r"not the address|Port could not be cast"):
        open_redis(f"redis-cluster://{hosts}")
