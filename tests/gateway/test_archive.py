"""What a user finds again over HTTP: words, mentions, conversations."""

from typing import Any

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.test_http import decoded
from tests.world import User, World


async def say(user: User, group_id: str, content: str, **more: Any) -> dict[str, Any]:
    await user.send("group_chat", groupId=group_id, content=content, **more)
    return await user.expect("ack", status="sent")


async def asked(world: World, path: str, user_id: int) -> dict[str, Any]:
    """Return the data of an answer."""
    data: dict[str, Any] = decoded(await world.get(path, user_id))["data"]
    return data


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_search_finds_in_the_users_own_conversations(
    make_world: MakeWorld, prefix: str
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1002, "tea at five", msgId="a")
        await say(bob, "g_demo", "Tea for all", msgId="b")
        await bob.chat(1003, "tea for two", msgId="c")
        data = await asked(world, f"{prefix}/message/search?keyword=tea", 1001)
        assert data.keys() == {"list"}
        assert [message["msgId"] for message in data["list"]] == ["b", "a"]
        assert data["list"][1]["content"] == "tea at five"
        assert await asked(world, f"{prefix}/message/search?keyword=%25", 1001) == {"list": []}


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_mentions_come_from_one_group_or_from_all(make_world: MakeWorld, prefix: str) -> None:
    async with make_world() as world:
        await world.add_group("g_two", 1001, 1002)
        alice = await world.login(1001)
        path = f"{prefix}/message/at-me"
        for msg_id, group_id, at in (("a", "g_two", [1002]), ("b", "g_demo", [-1])):
            await say(alice, group_id, "look", msgId=msg_id, atUserIds=at)
        await say(alice, "g_demo", "not you", msgId="c", atUserIds=[1003])
        data = await asked(world, path, 1002)
        assert [message["msgId"] for message in data["list"]] == ["b", "a"]
        assert data["hasMore"] is False
        data = await asked(world, f"{path}?groupId=g_demo", 1002)
        assert [message["msgId"] for message in data["list"]] == ["b"]
        data = await asked(world, f"{path}?limit=1", 1002)
        assert data["hasMore"] is True
        older = await asked(world, f"{path}?lastMsgId={data['list'][0]['id']}", 1002)
        assert [message["msgId"] for message in older["list"]] == ["a"]


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_conversations_come_newest_first_page_by_page(
    make_world: MakeWorld, prefix: str
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1003, "first", msgId="a")
        await bob.chat(1001, "second", msgId="b")
        await say(bob, "g_demo", "third", msgId="c")
        path = f"{prefix}/message/conversations"
        data = await asked(world, path, 1001)
        assert data["hasMore"] is False
        shown = [{**each, "lastMessage": each["lastMessage"]["msgId"]} for each in data["list"]]
        assert shown == [
            {"groupId": "g_demo", "lastMessage": "c", "unreadCount": 1},
            {"peerId": 1002, "lastMessage": "b", "unreadCount": 1},
            {"peerId": 1003, "lastMessage": "a", "unreadCount": 0},
        ]
        last = data["list"][0]["lastMessage"]
        assert (last["content"], last["chatType"], last["seq"]) == ("third", 2, 1)
        page = await asked(world, f"{path}?limit=2", 1001)
        assert (page["list"], page["hasMore"]) == (data["list"][:2], True)
        before = page["list"][-1]["lastMessage"]["id"]
        page = await asked(world, f"{path}?limit=2&before={before}", 1001)
        assert (page["list"], page["hasMore"]) == (data["list"][2:], False)
        assert await asked(world, path, 1004) == {"list": [], "hasMore": False}
