"""What one client asks for in vain costs the others nothing."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from skyeim_ws.logic.session_state import session_of
from skyeim_ws.services.friend import FriendService
from skyeim_ws.services.group import GroupService
from tests.gateway.conftest import MakeWorld
from tests.waiting import until
from tests.world import User


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what the services are asked for."""
    counted: Counter[str] = Counter()

    def count(service: type, method: str) -> None:
        original = getattr(service, method)

        async def counting(self: Any, request: Any, context: Any) -> Any:
            counted[method] += 1
            return await original(self, request, context)

        monkeypatch.setattr(service, method, counting)

    count(GroupService, "GetMemberList")
    count(GroupService, "CheckMembership")
    count(FriendService, "GetFriendList")
    return counted


async def busy_with_nothing(user: User, node: Any) -> None:
    await user.quiet()
    await until(lambda: session_of(node.hub.get(user.user_id)).asking == 0)


@pytest.mark.gen_test
async def test_typing_in_foreign_groups_is_refused_once_and_told_to_nobody(
    make_world: MakeWorld, calls: Counter[str]
) -> None:
    async with make_world() as world:
        node = await world.add_node()
        dave, bob = await world.login(1004), await world.login(1002, node=node)
        heard: list[str] = []
        async with world.redis.pubsub() as pubsub:
            await pubsub.psubscribe("*")
            await busy_with_nothing(dave, world.gateway)
            before = calls.copy()
            for _ in range(5):
                for group_id in ("g_demo", "g_none_1", "g_none_2", "g_none_3"):
                    await dave.send("typing", groupId=group_id)
                await busy_with_nothing(dave, world.gateway)
            calls.subtract(before)
            while (message := await pubsub.get_message()) is not None:
                heard.append(repr(message["data"]))
        assert calls["CheckMembership"] == 4
        assert calls["GetMemberList"] == 0
        assert world.gateway.stats.typing_refused == 20
        assert len(world.gateway.router) == 0
        assert [text for text in heard if "typing" in text] == []
        assert [frame["type"] for frame in await bob.quiet() if frame["type"] == "typing"] == []
        assert dave.skipped == []


@pytest.mark.gen_test
async def test_a_client_has_few_look_ups_for_typing_under_way(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond them its typing is left out, while its messages go on."""
    open_calls: list[str] = []

    async def hang(_self: Any, request: Any, context: Any) -> None:
        open_calls.append(request.group_id)
        await asyncio.Event().wait()

    monkeypatch.setattr(GroupService, "CheckMembership", hang)
    async with make_world(max_look_ups=3, max_in_flight=5, rpc_timeout=1000) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        for number in range(20):
            await alice.send("typing", groupId=f"g_{number}")
        await alice.quiet()
        await until(lambda: len(open_calls) == 3)
        assert world.gateway.stats.frames_shed == 17
        await alice.chat(1002, "not held up")
        await bob.expect("chat", content="not held up")
        # What was looked up in vain is left out as well, without a word to the typist.
        await until(lambda: world.gateway.stats.frames_shed == 20)
        told = [frame["type"] for frame in await alice.quiet() if frame["type"] != "online"]
        assert told in (["ack"], [])


@pytest.mark.gen_test
async def test_typing_to_strangers_has_nobodys_friends_looked_up(
    make_world: MakeWorld, calls: Counter[str]
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await alice.send("presence", userIds=[1002])
        await alice.expect("presence")
        # Her own friends are known by now.
        before = calls["GetFriendList"]
        for stranger in range(5001, 5051):
            await alice.send("typing", toUserId=stranger)
        await busy_with_nothing(alice, world.gateway)
        assert calls["GetFriendList"] == before
        assert world.gateway.stats.typing_refused == 50
