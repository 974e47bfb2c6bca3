"""What goes wrong with a frame, and how its sender is told: an answer each, no closing."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import func, select, update

from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.services.tables import (
    ADMIN,
    BLOCKED,
    DISMISSED,
    friends,
    group_members,
    groups,
    messages,
)
from tests.gateway.conftest import MakeWorld
from tests.waiting import until
from tests.world import User, World


async def failure(user: User, reason: str, code: int, msg_id: str | None = None) -> dict[str, Any]:
    """Return the `error`, which must come right behind a `failed` ack with the reason."""
    ack = await user.expect("ack")
    assert (ack["status"], ack["reason"]) == ("failed", reason)
    assert ack.keys() == {"msgId", "status", "reason", "timestamp"}
    assert msg_id in (None, ack["msgId"])
    error = await user.receive()
    assert error["type"] == "error"
    data: dict[str, Any] = error["data"]
    assert (data["code"], data["msgId"]) == (code, ack["msgId"])
    assert data["message"]
    return data


async def count(world: World) -> int:
    [row] = await world.rows(select(func.count()).select_from(messages))
    return int(row[0])


CHAT = {"toUserId": 1002, "content": "x", "msgId": "m-1"}
GROUP_CHAT = {"groupId": "g_demo", "content": "x", "msgId": "m-1"}
BAD_CHATS: dict[str, dict[str, Any]] = {
    "no receiver": {"toUserId": None},
    "receiver 0": {"toUserId": 0},
    "receiver below 0": {"toUserId": -1},
    "receiver past int64": {"toUserId": 2**63},
    "receiver is text": {"toUserId": "1002"},
    "receiver is a fraction": {"toUserId": 1.5},
    "receiver is true": {"toUserId": True},
    "no content": {"content": None},
    "content is empty": {"content": ""},
    "content is too long": {"content": "x" * 16385},
    "content is a number": {"content": 5},
    "content type 6": {"contentType": 6},
    "content type is text": {"contentType": "1"},
}
BAD_GROUP_CHATS: dict[str, dict[str, Any]] = {
    "no group": {"groupId": None},
    "group is empty": {"groupId": ""},
    "group is too long": {"groupId": "g" * 65},
    "group is a number": {"groupId": 5},
    "content is empty": {"content": ""},
    "content type 6": {"contentType": 6},
    "mentions is a number": {"atUserIds": 1001},
    "mentions are text": {"atUserIds": ["1001"]},
    "mentions below -1": {"atUserIds": [-2]},
}
BAD_MSG_IDS: dict[str, Any] = {
    "too long": "m" * 65,
    "space": "m 1",
    "slash": "m/1",
    "line end": "m-1\n",
    "not ASCII": "ä",
    "number": 5,
}

BAD_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("ack", {"status": "delivered"}),
    ("ack", {"msgId": "m-1"}),
    ("ack", {"msgId": "m-1", "status": "sent"}),
    ("read", {}),
    ("read", {"peerId": 0}),
    ("read", {"peerId": 1002, "msgIds": "m-1"}),
    ("group_read", {"readSeq": 1}),
    ("group_read", {"groupId": "g_demo", "readSeq": -1}),
    ("typing", {}),
    ("typing", {"toUserId": 1002, "groupId": "g_demo"}),
    ("presence", {}),
    ("presence", {"userIds": list(range(1, 202))}),
    ("offline_pull", {"limit": -1}),
    ("offline_pull", {"limit": 101}),
]


def changed(good: Mapping[str, Any], bad: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**good, **bad}.items() if value is not None}


def test_every_reason_has_the_code_of_the_protocol() -> None:
    assert {str(reason): code for reason, code in ERROR_CODES.items()} == {
        "invalid": 30001,
        "not_friend": 30004,
        "blocked": 30004,
        "group_not_found": 30005,
        "not_member": 30006,
        "muted": 30007,
        "at_all_denied": 30008,
        "rate_limited": 30009,
        "busy": 30010,
        "rpc_error": 30011,
        "msg_id_conflict": 30012,
    }
    assert set(ERROR_CODES) == set(Reason)


@pytest.mark.gen_test
async def test_a_field_missing_out_of_range_or_of_the_wrong_type_is_invalid(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for bad in BAD_CHATS.values():
            await alice.send("chat", **changed(CHAT, bad))
            await failure(alice, "invalid", 30001, "m-1")
        for bad in BAD_GROUP_CHATS.values():
            await alice.send("group_chat", **changed(GROUP_CHAT, bad))
            await failure(alice, "invalid", 30001, "m-1")
        for msg_id in BAD_MSG_IDS.values():
            await alice.send("chat", **CHAT | {"msgId": msg_id})
            await failure(alice, "invalid", 30001)
        assert await count(world) == 0
        # The connection lives, and the longest allowed is allowed.
        await alice.chat(1002, "x" * 16384, msgId="m" * 64)


@pytest.mark.gen_test
async def test_a_frame_that_is_no_frame_gets_30001_and_an_unknown_type_30013(
    make_world: MakeWorld,
) -> None:
    no_frames = ["", "hello", "{", "[]", "5", '{"data":{}}', '{"type":5}', '{"type":null}', "NaN"]
    async with make_world() as world:
        alice = await world.login(1001)
        for text in no_frames:
            await alice.connection.send(text)
            error = await alice.receive()
            assert error["type"] == "error", text
            assert error["data"]["code"] == 30001, text
        for kind in ("", "Chat", "connected", "kicked", "x" * 1000, "\0"):
            await alice.send(kind)
            error = await alice.receive()
            assert error["type"] == "error", kind
            assert error["data"]["code"] == 30013, kind
            assert len(json.dumps(error)) < 1000
        await alice.send("ping")
        assert (await alice.receive())["type"] == "pong"


@pytest.mark.gen_test
async def test_an_invalid_request_that_sends_nothing_gets_an_error_alone(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for kind, data in BAD_REQUESTS:
            await alice.send(kind, **data)
            error = await alice.receive()
            assert (error["type"], error["data"]["code"]) == ("error", 30001), (kind, data)
        assert await alice.quiet() == []


@pytest.mark.gen_test
async def test_who_is_no_friend_gets_not_friend(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for stranger in (1004, 1001):
            await alice.send("chat", toUserId=stranger, content="x", msgId="m-1")
            await failure(alice, "not_friend", 30004, "m-1")
        assert await count(world) == 0
        assert await world.redis.exists("offline:private:1004") == 0


@pytest.mark.gen_test
async def test_blocked_holds_in_both_directions(make_world: MakeWorld) -> None:
    async with make_world() as world:
        # 1002 has blocked 1001.
        await world.execute(
            update(friends)
            .where(friends.c.user_id == 1002, friends.c.friend_id == 1001)
            .values(status=BLOCKED)
        )
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.send("chat", toUserId=1002, content="x")
        await failure(alice, "blocked", 30004)
        await bob.send("chat", toUserId=1001, content="x")
        await failure(bob, "blocked", 30004)


@pytest.mark.gen_test
async def test_groups_that_are_not_there_or_dismissed(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await alice.send("group_chat", groupId="g_none", content="x", msgId="m-1")
        await failure(alice, "group_not_found", 30005, "m-1")
        await world.execute(
            update(groups).where(groups.c.group_id == "g_demo").values(status=DISMISSED)
        )
        await alice.send("group_chat", groupId="g_demo", content="x", msgId="m-2")
        await failure(alice, "group_not_found", 30005, "m-2")
        assert len(world.gateway.router) == 0


@pytest.mark.gen_test
async def test_who_is_not_a_member_gets_not_member(make_world: MakeWorld) -> None:
    async with make_world() as world:
        dave, bob = await world.login(1004), await world.login(1002)
        await dave.send("group_chat", groupId="g_demo", content="x", msgId="m-1")
        await failure(dave, "not_member", 30006, "m-1")
        await dave.send("group_read", groupId="g_demo", readSeq=1)
        assert (await dave.expect("error"))["code"] == 30006
        assert "group_chat" not in [frame["type"] for frame in await bob.quiet()]


@pytest.mark.gen_test
async def test_muted_members_are_heard_no_more(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.execute(
            update(group_members).where(group_members.c.user_id == 1002).values(mute=1)
        )
        bob = await world.login(1002)
        await bob.send("group_chat", groupId="g_demo", content="x", msgId="m-1")
        await failure(bob, "muted", 30007, "m-1")


@pytest.mark.gen_test
async def test_only_owner_and_admins_mention_everyone(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.execute(
            update(group_members).where(group_members.c.user_id == 1003).values(role=ADMIN)
        )
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await bob.send("group_chat", groupId="g_demo", content="x", atUserIds=[1001, -1])
        await failure(bob, "at_all_denied", 30008)
        for user in (alice, carol):
            await user.send("group_chat", groupId="g_demo", content="x", atUserIds=[-1])
            await user.expect("ack", status="sent")
        assert [(await bob.expect("group_chat"))["atUserIds"] for _ in range(2)] == [[-1], [-1]]


@pytest.mark.gen_test
async def test_who_sends_too_fast_is_told_and_may_stay(make_world: MakeWorld) -> None:
    async with make_world(rate_limit=1, rate_burst=10) as world:
        alice = await world.login(1001)
        for number in range(12):
            await alice.send("chat", toUserId=1002, content="x", msgId=f"m-{number}")
        ack = await alice.expect("ack", status="failed")
        assert ack["reason"] == "rate_limited"
        error = await alice.expect("error", msgId=ack["msgId"])
        assert error["code"] == 30009
        assert alice.connection.close_code is None


@pytest.mark.gen_test
async def test_what_is_sent_ahead_waits_and_then_is_not_even_read(make_world: MakeWorld) -> None:
    """Reading stops in the middle of what has come, and goes on there."""
    async with make_world(max_in_flight=2, send_ahead=4) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        client = world.gateway.hub.get(1001)
        assert client is not None
        await world.stop_services()
        for number in range(40):
            await alice.send("chat", toUserId=1002, content=str(number), msgId=f"m-{number}")
        await until(lambda: client.reading_paused)
        assert world.gateway.sending.window.waiting == 4
        assert world.gateway.sending.under_way == 2
        await world.start_services()
        for number in range(40):
            await alice.expect("ack", msgId=f"m-{number}", status="sent")
        received = [(await bob.expect("chat"))["content"] for _ in range(40)]
        assert received == [str(number) for number in range(40)]
        assert world.gateway.sending.window.waiting == 0
        assert await count(world) == 40


@pytest.mark.gen_test
async def test_what_was_sent_before_a_close_is_stored_after_it(make_world: MakeWorld) -> None:
    async with make_world(max_in_flight=2, send_ahead=100) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await world.stop_services()
        for number in range(40):
            await alice.send("chat", toUserId=1002, content=str(number), msgId=f"m-{number}")
        await alice.connection.close()
        await world.start_services()
        received = [(await bob.expect("chat"))["content"] for _ in range(40)]
        assert received == [str(number) for number in range(40)]


@pytest.mark.gen_test
async def test_a_full_backlog_is_busy(make_world: MakeWorld) -> None:
    async with make_world(send_backlog=1) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await world.stop_services()
        await alice.send("chat", toUserId=1003, content="x", msgId="a-1")
        await until(lambda: world.gateway.writer.pending == 1)
        await bob.send("chat", toUserId=1003, content="x", msgId="b-1")
        await failure(bob, "busy", 30010, "b-1")
        await world.start_services()
        await alice.expect("ack", msgId="a-1", status="sent")


@pytest.mark.gen_test
async def test_a_full_group_queue_is_busy_before_the_message_is_stored(
    make_world: MakeWorld,
) -> None:
    async with make_world(group_queue_size=1) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await world.stop_services()
        await alice.send("group_chat", groupId="g_demo", content="x", msgId="a-1")
        await until(lambda: world.gateway.sending.under_way == 1)
        await bob.send("group_chat", groupId="g_demo", content="x", msgId="b-1")
        await failure(bob, "busy", 30010, "b-1")
        await world.start_services()
        await alice.expect("ack", msgId="a-1", status="sent")
        await bob.expect("group_chat", msgId="a-1")
        assert await count(world) == 1


@pytest.mark.gen_test
async def test_a_service_that_is_away_is_rpc_error_and_the_same_msg_id_succeeds_later(
    make_world: MakeWorld,
) -> None:
    async with make_world(rpc_timeout=300) as world:
        alice = await world.login(1001)
        await world.stop_services()
        await alice.send("chat", **CHAT)
        await failure(alice, "rpc_error", 30011, "m-1")
        await alice.send("group_chat", **GROUP_CHAT)
        await failure(alice, "rpc_error", 30011, "m-1")
        await alice.send("read", peerId=1002)
        error = await alice.receive()
        assert (error["type"], error["data"]["code"]) == ("error", 30011)
        await world.start_services()
        status = ""
        while status != "sent":  # until the channel has found the server again
            await alice.send("chat", **CHAT)
            status = (await alice.expect("ack", msgId="m-1"))["status"]
        assert await count(world) == 1


@pytest.mark.gen_test
async def test_a_msg_id_that_another_sender_has_used_is_a_conflict(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1003, "mine", msgId="m-1")
        await bob.send("chat", toUserId=1003, content="no, mine", msgId="m-1")
        await failure(bob, "msg_id_conflict", 30012, "m-1")
        await bob.send("group_chat", groupId="g_demo", content="no, mine", msgId="m-1")
        await failure(bob, "msg_id_conflict", 30012, "m-1")
        assert await count(world) == 1


@pytest.mark.gen_test
async def test_two_senders_with_one_msg_id_at_a_time_get_one_message(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await world.stop_services()
        await alice.send("chat", toUserId=1003, content="x", msgId="m-1")
        await until(lambda: world.gateway.sending.under_way == 1)
        await bob.send("chat", toUserId=1003, content="x", msgId="m-1")
        await until(lambda: world.gateway.sending.under_way == 2)
        await world.start_services()
        await alice.expect("ack", msgId="m-1", status="sent")
        await failure(bob, "msg_id_conflict", 30012, "m-1")
        assert await count(world) == 1
