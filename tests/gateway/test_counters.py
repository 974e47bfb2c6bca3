"""Messages of a group go on being delivered when its counter was set back."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, update

from skyeim_ws.gateway.app import Gateway
from skyeim_ws.services.tables import group_seqs, messages
from tests.gateway.conftest import MakeWorld
from tests.world import User, World


async def talk(sender: User, receivers: Sequence[User], *contents: str) -> list[int]:
    """Have messages sent, and received by each receiver; return their seqs."""
    seqs = []
    for content in contents:
        await sender.send("group_chat", groupId="g_demo", content=content)
        sent = await sender.expect("ack", status="sent")
        seqs.append(sent["seq"])
        for receiver in receivers:
            await receiver.expect("group_chat", content=content, seq=sent["seq"])
    return seqs


def hints(user: User) -> list[dict[str, Any]]:
    """Return the `group_behind` that have come before what was expected."""
    return [each["data"] for each in user.skipped if each["type"] == "group_behind"]


async def set_back(world: World, seq: int) -> None:
    """Set the counter of the services back, as from an older snapshot."""
    await world.execute(update(group_seqs).where(group_seqs.c.group_id == "g_demo").values(seq=seq))


@pytest.mark.gen_test
@pytest.mark.parametrize("nodes", [1, 2])
async def test_they_go_on_and_members_are_told_from_where_it_counts_anew(
    make_world: MakeWorld, nodes: int
) -> None:
    async with make_world() as world:
        there: Gateway | None = await world.add_node() if nodes == 2 else None
        alice, bob = await world.login(1001), await world.login(1002)
        carol = await world.login(1003, node=there)
        assert await talk(alice, [bob, carol], "a", "b", "c", "d") == [1, 2, 3, 4]
        await set_back(world, 1)
        assert await talk(alice, [bob, carol], "e", "f") == [2, 3]
        assert await talk(carol, [alice, bob], "g", "h", "i") == [4, 5, 6]
        for user in (bob, carol):
            assert hints(user) == [{"groupId": "g_demo", "seq": 1}]


@pytest.mark.gen_test
async def test_they_go_on_when_the_database_comes_from_a_backup(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        assert await talk(alice, [bob], "a", "b", "c", "d") == [1, 2, 3, 4]
        await world.execute(delete(messages).where(messages.c.seq > 2))
        await set_back(world, 2)
        assert await talk(alice, [bob], "e", "f", "g") == [3, 4, 5]
        assert hints(bob) == [{"groupId": "g_demo", "seq": 2}]
