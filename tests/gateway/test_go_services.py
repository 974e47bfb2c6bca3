"""The gateway in front of the Go services of an existing deployment, as they are."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from skyeim_ws.config.rpc import RpcConf
from tests.go_services import Go, go_services
from tests.store.servers import Server
from tests.world import World, world


@asynccontextmanager
async def deployment(server: Server, folder: Path, **ws: Any) -> AsyncIterator[tuple[World, Go]]:
    """Run a gateway on the Go services: 1001 to 1003 are friends and the members of g_team."""
    async with (
        Redis(unix_socket_path=str(server.socket)) as redis,
        go_services(redis) as (go, address),
    ):
        go.befriend(1001, (1002, 1003))
        go.befriend(1002, (1003,))
        go.add_group("g_team", 1001, 1002, 1003)
        rpc = RpcConf(endpoints=(address,), timeout=3000)
        settings = {"message_rpc": rpc, "friend_rpc": rpc, "group_rpc": rpc}
        async with world(server.socket, folder, settings=settings, **ws) as running:
            yield running, go


@pytest.mark.gen_test
async def test_two_users_chat(redis_server: Server, tmp_path: Path) -> None:
    async with deployment(redis_server, tmp_path) as (world, go):
        alice, bob = await world.login(1001), await world.login(1002)
        ack = await alice.chat(1002, "hello", msgId="m1")
        assert await bob.expect("chat", content="hello", id=ack["id"])
        await alice.expect("ack", msgId="m1", status="delivered")
        assert [message.content for message in go.stored("m1")] == ["hello"]


@pytest.mark.gen_test
async def test_a_retry_of_a_stored_message_is_sent_and_delivered(
    redis_server: Server, tmp_path: Path
) -> None:
    """The row stands and the call failed: the answer to the retry is a bare UNKNOWN."""
    async with deployment(redis_server, tmp_path) as (world, go):
        alice, bob = await world.login(1001), await world.login(1002)
        go.redis_away = True
        await alice.send("chat", toUserId=1002, content="hello", msgId="m1")
        ack = await alice.expect("ack", msgId="m1")
        if ack["status"] == "failed":
            assert ack["reason"] == "rpc_error"
            go.redis_away = False
            ack = await alice.chat(1002, "hello", msgId="m1")
        (stored,) = go.stored("m1")
        assert ack["id"] == stored.id
        await bob.expect("chat", msgId="m1", content="hello", id=stored.id)
        await alice.expect("ack", msgId="m1", status="delivered")


@pytest.mark.gen_test
async def test_a_msg_id_of_another_sender_is_a_conflict(
    redis_server: Server, tmp_path: Path
) -> None:
    async with deployment(redis_server, tmp_path) as (world, go):
        alice, carol = await world.login(1001), await world.login(1003)
        await alice.chat(1002, "hello", msgId="m1")
        await carol.send("chat", toUserId=1002, content="forged", msgId="m1")
        await carol.expect("ack", msgId="m1", status="failed", reason="msg_id_conflict")
        # The service says no more of this than that it has failed, and the group does not have it.
        await carol.send("group_chat", groupId="g_team", content="forged", msgId="m1")
        await carol.expect("ack", msgId="m1", status="failed", reason="rpc_error")
        assert [message.content for message in go.stored("m1")] == ["hello"]


@pytest.mark.gen_test
async def test_the_first_message_of_a_group_is_sent_on_a_redis_without_its_counter(
    redis_server: Server, tmp_path: Path
) -> None:
    async with deployment(redis_server, tmp_path) as (world, _):
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.send("group_chat", groupId="g_team", content="first", msgId="g1")
        assert (await alice.expect("ack", msgId="g1"))["status"] == "sent"
        await bob.expect("group_chat", content="first", seq=1)


@pytest.mark.gen_test
async def test_a_repeated_group_message_is_sent_once(redis_server: Server, tmp_path: Path) -> None:
    async with deployment(redis_server, tmp_path, recent_acks=1) as (world, go):
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.send("group_chat", groupId="g_team", content="once", msgId="g1")
        first = await alice.expect("ack", msgId="g1", status="sent")
        await alice.chat(1002, "forget the one before", msgId="m2")
        await alice.send("group_chat", groupId="g_team", content="twice", msgId="g1")
        again = await alice.expect("ack", msgId="g1", status="sent")
        assert (again["id"], again["seq"]) == (first["id"], first["seq"])
        assert [message.content for message in go.stored("g1")] == ["once"]
        await alice.send("group_chat", groupId="g_team", content="after", msgId="g3")
        heard = [(await bob.expect("group_chat"))["content"] for _ in range(2)]
        assert heard == ["once", "after"]


@pytest.mark.gen_test
async def test_group_messages_go_on_when_their_counter_in_redis_is_from_an_older_snapshot(
    redis_server: Server, tmp_path: Path
) -> None:
    async with deployment(redis_server, tmp_path) as (world, _):
        alice, bob = await world.login(1001), await world.login(1002)

        async def say(number: int) -> int:
            await alice.send("group_chat", groupId="g_team", content=f"{number}")
            await alice.expect("ack", status="sent")
            seq: int = (await bob.expect("group_chat", content=f"{number}"))["seq"]
            return seq

        assert [await say(number) for number in range(5)] == [1, 2, 3, 4, 5]
        await world.redis.set("group:seq:g_team", 2)
        assert [await say(number) for number in range(5, 10)] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("method", ["SendMessage", "SendGroupMessage"])
@pytest.mark.gen_test
async def test_a_service_that_sheds_load_is_asked_again(
    redis_server: Server, tmp_path: Path, method: str
) -> None:
    async with deployment(redis_server, tmp_path) as (world, go):
        alice = await world.login(1001)
        go.shed[method] = 2
        if method == "SendMessage":
            await alice.send("chat", toUserId=1002, content="patience", msgId="m1")
        else:
            await alice.send("group_chat", groupId="g_team", content="patience", msgId="m1")
        assert (await alice.expect("ack", msgId="m1"))["status"] == "sent"
        assert len(go.stored("m1")) == 1


@pytest.mark.gen_test
async def test_all_friends_are_told_though_they_come_in_pages(
    redis_server: Server, tmp_path: Path
) -> None:
    async with deployment(redis_server, tmp_path) as (world, go):
        go.befriend(1001, range(2000, 2250))
        last = await world.login(2249)
        await world.login(1001)
        await last.expect("online", userId=1001)


@pytest.mark.gen_test
async def test_more_history_than_the_service_gives_at_a_time(
    redis_server: Server, tmp_path: Path
) -> None:
    """It takes a limit above 100 for none, and answers with 20."""
    async with deployment(redis_server, tmp_path) as (world, go):
        go.add_unread(1002, 1001, 250)
        answer = await world.get("/message/history?peerId=1002&limit=100", 1001)
        ids = [message["id"] for message in json.loads(answer.body)["data"]["list"]]
        assert ids == list(range(250, 150, -1))


@pytest.mark.gen_test
async def test_a_user_finds_friends_groups_and_members(
    redis_server: Server, tmp_path: Path
) -> None:
    """The pages of friends end at 100; for groups and members the service knows no pages."""
    async with deployment(redis_server, tmp_path) as (world, go):
        go.befriend(1001, range(2000, 2148))
        for number in range(3):
            go.add_group(f"g_{number}", 1001, *range(3000, 3005))

        async def listed(path: str, key: str) -> list[list[Any]]:
            pages: list[list[Any]] = []
            while not pages or pages[-1]:
                answer = await world.get(f"{path}&page={len(pages) + 1}", 1001)
                data = json.loads(answer.body)["data"]
                pages.append([entry[key] for entry in data["list"]])
            return pages[:-1]

        friends = await listed("/friend/list?pageSize=1000", "friendId")
        assert [len(page) for page in friends] == [100, 50]
        assert len({each for page in friends for each in page}) == 150
        groups = await listed("/group/list?pageSize=3", "groupId")
        assert groups == [["g_team", "g_0", "g_1"], ["g_2"]]
        members = await listed("/group/member/list?groupId=g_0&pageSize=4", "userId")
        assert members == [[1001, 3000, 3001, 3002], [3003, 3004]]
        assert (await world.get("/group/member/list?groupId=g_0", 1002)).code == 403


@pytest.mark.gen_test
async def test_searching_finds_what_is_the_users_own(redis_server: Server, tmp_path: Path) -> None:
    """The service looks for `everyone` in all groups there are, and knows no conversations."""
    async with deployment(redis_server, tmp_path) as (world, go):
        go.add_group("g_foreign", 3000, 1003)
        alice, carol = await world.login(1001), await world.login(1003)
        for group_id, user in (("g_team", alice), ("g_foreign", carol)):
            await user.send("group_chat", groupId=group_id, content="all", atUserIds=[1002])
            await user.expect("ack", status="sent")
        go.messages[-1].at_user_ids[:] = [-1]
        await alice.chat(1002, "tea at five", msgId="m1")

        async def found(path: str) -> list[str]:
            answer = await world.get(path, 1002)
            return [message["content"] for message in json.loads(answer.body)["data"]["list"]]

        assert await found("/message/search?keyword=five") == ["tea at five"]
        assert await found("/message/at-me?limit=200") == ["all"]
        assert await found("/message/at-me?groupId=g_team") == ["all"]
        assert (await world.get("/message/at-me?groupId=g_foreign", 1002)).code == 403
        assert await found("/message/conversations") == []


@pytest.mark.gen_test
async def test_a_burst_of_one_sender_is_stored_in_order(
    redis_server: Server, tmp_path: Path
) -> None:
    """Each call has its own time: waiting for the one before does not use it up."""
    async with deployment(redis_server, tmp_path) as (world, go):
        alice, bob = await world.login(1001), await world.login(1002)
        go.shed["SendMessage"] = 5
        for number in range(300):
            await alice.send("chat", toUserId=1002, content=str(number), msgId=f"b{number}")
        acks = [await alice.expect("ack", msgId=f"b{number}") for number in range(300)]
        assert {ack["status"] for ack in acks} == {"sent"}
        received = [(await bob.expect("chat"))["content"] for _ in range(300)]
        assert received == [str(number) for number in range(300)]


@pytest.mark.gen_test
async def test_the_first_login_brings_what_the_go_gateway_left_unread(
    redis_server: Server, tmp_path: Path
) -> None:
    """An empty Redis, 40 unread messages, no mark of a session before."""
    async with deployment(redis_server, tmp_path, been_here=False) as (world, go):
        go.add_unread(1002, 1001, 40)
        alice = await world.dial(1001)
        contents = [(await alice.expect("chat"))["content"] for _ in range(40)]
        assert contents == [f"old {number}" for number in range(40)]


@pytest.mark.gen_test
async def test_group_messages_are_for_members_though_the_service_does_not_look(
    redis_server: Server, tmp_path: Path
) -> None:
    async with deployment(redis_server, tmp_path) as (world, _):
        alice = await world.login(1001)
        await alice.send("group_chat", groupId="g_team", content="among us", msgId="g1")
        await alice.expect("ack", msgId="g1", status="sent")
        path = "/message/group/sync?groupId=g_team&seq=0&limit=10"
        assert (await world.get(path, 1002)).code == 200
        assert (await world.get(path, 1999)).code == 403


@pytest.mark.gen_test
async def test_an_invited_member_does_not_hide_the_others(
    redis_server: Server, tmp_path: Path
) -> None:
    """The service adds one member to a missing set; the set is no list of the members then."""
    async with deployment(redis_server, tmp_path) as (world, _):
        async with Redis(unix_socket_path=str(redis_server.socket)) as redis:
            await redis.sadd("im:group:members:g_team", 1003)
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.send("group_chat", groupId="g_team", content="all", msgId="g1")
        await alice.expect("ack", msgId="g1", status="sent")
        await bob.expect("group_chat", content="all")
