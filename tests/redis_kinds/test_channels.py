"""Channels and tracked keys of a cluster: its slots move and its masters die under both."""

import asyncio
from contextlib import aclosing

import pytest

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.store import tracking
from skyeim_ws.store.client import connect
from skyeim_ws.store.keys import group_channel
from skyeim_ws.store.tracking import Change, changes
from tests.gateway.conftest import OPTIONAL, PASSWORD, USER, documented_users
from tests.redis_kinds.servers import ClusterServers
from tests.redis_kinds.test_chat import second_node
from tests.waiting import until, until_async
from tests.world import User, world

pytestmark = pytest.mark.xdist_group("redis_kinds")

GROUP = "g_demo"


async def all_told(user: User, last: int) -> list[int]:
    """Return the seqs of the messages that come, until all up to the last came or were told of."""
    live: list[int] = []
    told = 0
    while not {*range(told + 1, last + 1)} <= {*live}:
        frame = await user.receive()
        if frame["type"] == "group_chat":
            live.append(frame["data"]["seq"])
        elif frame["type"] == "group_behind":
            told = max(told, frame["data"]["seq"])
    return live


@pytest.mark.gen_test
async def test_a_group_whose_slot_moves_is_heard_at_its_new_master(
    cluster: ClusterServers, tmp_path: pytest.TempPathFactory
) -> None:
    """And members are told of what came meanwhile."""
    async with world(cluster.conf, tmp_path, rate_limit=0) as chat:  # type: ignore[arg-type]
        other = await second_node(chat)
        alice, bob = await chat.login(1001), await chat.login(1002, node=other)
        old = cluster.owner(group_channel(GROUP))
        new = next(node for node in cluster.masters() if node is not old)
        sent = 0

        async def say() -> None:
            nonlocal sent
            await alice.send("group_chat", groupId=GROUP, content="x", msgId=f"m{sent}")
            sent = (await alice.expect("ack", status="sent"))["seq"]

        try:
            await say()
            await bob.expect("group_chat", seq=1)
            moved = asyncio.create_task(asyncio.to_thread(cluster.move, group_channel(GROUP), new))
            while not moved.done():
                await say()
            await moved
            for _ in range(5):
                await say()
            assert await all_told(bob, sent)
            await until(lambda: other.bus.complete)

            async def heard() -> bool:
                [_, count] = await asyncio.to_thread(
                    new.ask, "PUBSUB", "SHARDNUMSUB", group_channel(GROUP)
                )
                return bool(count == 2)

            await until_async(heard)
            await say()
            await bob.expect("group_chat", seq=sent)
        finally:
            await asyncio.to_thread(cluster.move, group_channel(GROUP), old)


@pytest.mark.gen_test
async def test_a_group_is_heard_again_when_its_master_has_died(
    cluster: ClusterServers, tmp_path: pytest.TempPathFactory
) -> None:
    async with world(cluster.conf, tmp_path, rate_limit=0) as chat:  # type: ignore[arg-type]
        other = await second_node(chat)
        alice, bob = await chat.login(1001), await chat.login(1002, node=other)
        await alice.send("group_chat", groupId=GROUP, content="x")
        await bob.expect("group_chat", seq=1)
        cluster.owner(group_channel(GROUP)).kill()
        await alice.persist("group_chat", msg_id="m-2", groupId=GROUP)
        await until(lambda: not other.bus.complete)
        await until(lambda: other.bus.complete and chat.gateway.pipeline.healthy)
        await alice.persist("group_chat", msg_id="m-3", groupId=GROUP)
        live = await all_told(bob, 3)
        await alice.persist("group_chat", msg_id="m-4", groupId=GROUP)
        if 4 not in live:
            await bob.expect("group_chat", seq=4)


@pytest.mark.gen_test
async def test_changes_at_every_master_are_told_also_after_one_has_died(
    cluster: ClusterServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_MAP_SECONDS", 0.1)
    client = connect(cluster.conf.address)
    keys = {cluster.owner(f"k:{n}").port: f"k:{n}" for n in range(100)}
    assert len(keys) == 3
    try:
        async with aclosing(changes(client, "k:", lambda: 0)) as stream:
            assert await anext(stream) == Change(None, tracking=True)
            for port, key in keys.items():
                await asyncio.to_thread(cluster.at(port).ask, "SADD", key, 1)
                assert await anext(stream) == Change((key,), tracking=True)
            port, key = next(iter(keys.items()))
            cluster.at(port).kill()
            assert await anext(stream) == Change(None, tracking=False)
            while await anext(stream) != Change(None, tracking=True):
                pass
            owner = client.owner(key)  # type: ignore[union-attr]
            assert owner is not None
            await asyncio.to_thread(cluster.at(owner[1]).ask, "SADD", key, 2)
            assert await anext(stream) == Change((key,), tracking=True)
    finally:
        await client.aclose()


@pytest.mark.gen_test
async def test_the_documented_user_may_do_what_a_gateway_does_in_a_cluster(
    cluster: ClusterServers, tmp_path: pytest.TempPathFactory
) -> None:
    for node in cluster.nodes:
        for command in documented_users():
            node.ask(*command)
        node.ask("ACL", "LOG", "RESET")
    conf = RedisConf(host=cluster.conf.host, type="cluster", user=USER, password=PASSWORD)
    async with world(conf, tmp_path, group_channel_linger=0.1) as chat:  # type: ignore[arg-type]
        other = await second_node(chat)
        alice, bob = await chat.login(1001), await chat.login(1002, node=other)
        await alice.expect("online", userId=1002)
        await alice.send("group_chat", groupId=GROUP, content="x")
        await bob.expect("group_chat", seq=1)
        await bob.connection.close()
        await alice.expect("offline", userId=1002)

        async def left() -> bool:
            owner = cluster.owner(group_channel(GROUP))
            [_, count] = await asyncio.to_thread(
                owner.ask, "PUBSUB", "SHARDNUMSUB", group_channel(GROUP)
            )
            return bool(count == 1)

        await until_async(left)
    log = [entry for node in cluster.nodes for entry in node.ask("ACL", "LOG")]
    refused = {entry[entry.index(b"object") + 1].decode() for entry in log}
    assert refused <= OPTIONAL, "docs/operations.md, Redis: the user skyeim lacks this right"
