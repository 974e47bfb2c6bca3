"""The clean-up after a dead node goes on where a failure of Redis has interrupted it."""

import pytest

from skyeim_ws.store.client import connect
from skyeim_ws.store.keys import NODES_KEY
from skyeim_ws.store.nodes import NodeLease, node_sessions_key
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.presence import USERS_KEY, RedisPresence
from skyeim_ws.store.sessions import RedisSessions
from tests.redis_kinds.servers import ClusterServers

pytestmark = pytest.mark.xdist_group("redis_kinds")


@pytest.mark.gen_test
async def test_users_whose_sessions_are_marked_already_are_taken_out_all_the_same(
    cluster: ClusterServers,
) -> None:
    client = connect(cluster.conf.address)
    pipeline = Pipeline(client)
    pipeline.start()
    try:
        queue = RedisOfflineQueue(pipeline, size=10, ttl=60)
        dead = RedisSessions(pipeline, queue, "dead")
        alive = RedisSessions(pipeline, queue, "alive")
        presence = RedisPresence(pipeline)
        node_sessions = NodeLease(pipeline, dead, "dead")
        for user_id in (1, 2, 3):
            await dead.claim(user_id, f"c{user_id}", 20)
            await presence.enter(user_id, ["g"])
            node_sessions.enter(user_id, f"c{user_id}", ["g"])
        await pipeline.call(("ZADD", NODES_KEY, 1, "dead"))
        # The one before us came as far as this.
        assert await alive.reap([(1, "dead c1"), (2, "dead c2")]) == [1, 2]
        assert (await alive.claim(2, "new", 20)).missed
        await NodeLease(pipeline, alive, "alive").reap_all()
        [online, in_group, left, nodes] = await pipeline.call(
            ("SMEMBERS", USERS_KEY),
            ("SMEMBERS", "group:online:g"),
            ("EXISTS", node_sessions_key("dead")),
            ("ZCARD", NODES_KEY),
        )
        assert online == in_group == [b"2"]
        assert (left, nodes) == (0, 0)
        assert await alive.anywhere([1, 2, 3]) == [False, True, False]
    finally:
        await pipeline.close(5)
        await client.aclose()
