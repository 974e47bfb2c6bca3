"""The client by which the services reach the Redis that the gateway is configured with."""

import pytest
from redis.asyncio import Redis, RedisCluster

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.services.shared_redis import open_redis

PASSWORD = "p@ss:w/rd?#,"


@pytest.mark.gen_test
async def test_a_cluster() -> None:
    address = RedisAddress(
        hosts=("10.0.0.1:1", "10.0.0.2"), kind="cluster", user="u", password=PASSWORD, tls=True
    )
    client = open_redis(address)
    assert isinstance(client, RedisCluster)
    assert list(client.nodes_manager.startup_nodes) == ["10.0.0.1:1", "10.0.0.2:6379"]
    found = client.get_connection_kwargs()
    assert (found["username"], found["password"]) == ("u", PASSWORD)
    assert found["connection_class"].__name__ == "SSLConnection"  # type: ignore[union-attr]


def test_one_server() -> None:
    assert isinstance(open_redis(RedisAddress(hosts=("/run/redis.sock",))), Redis)


def test_of_a_cluster_every_node_has_to_be_an_address() -> None:
    with pytest.raises(ValueError, match="not a Redis address"):
        open_redis(RedisAddress(hosts=("a:1", ""), kind="cluster"))
