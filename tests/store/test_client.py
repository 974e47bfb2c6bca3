"""The client of the gateway: which kind of Redis is spoken to how."""

import pytest
from redis.asyncio import Redis

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.store.client import connect
from skyeim_ws.store.cluster import Cluster


def test_each_kind_of_redis_has_its_client() -> None:
    assert isinstance(connect(RedisAddress(hosts=("a:1",))), Redis)
    assert isinstance(connect(RedisAddress(hosts=("a:1", "b:2"), kind="cluster")), Cluster)


@pytest.mark.parametrize("host", ["", "a:1;b:2", "/run/redis.sock"])
def test_of_a_cluster_every_node_has_to_be_an_address(host: str) -> None:
    with pytest.raises(ValueError, match="not a Redis address"):
        connect(RedisAddress(hosts=("a:1", host), kind="cluster"))
