"""Group messages and the membership of groups, end to end."""

import uuid
from typing import Any

import pytest
from sqlalchemy import func, select, text

from skyeim_ws.conn.messages import GroupMessage, frame
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.services.tables import messages
from skyeim_ws.store import member_fills
from skyeim_ws.store.member_fills import UNVERIFIED_TTL
from tests.gateway.conftest import MakeWorld
from tests.waiting import until, until_async
from tests.world import User, World

MEMBERS_KEY = "im:group:members:g_demo"
ONLINE_KEY = "group:online:g_demo"


async def members(world: World, key: str = MEMBERS_KEY) -> set[int]:
    """Return the user ids of a set in Redis."""
    return set(map(int, await world.redis.smembers(key)))


async def say(user: User, content: str, **more: Any) -> dict[str, Any]:
    """Send a message to `g_demo`; return its `ack`."""
    await user.send("group_chat", groupId="g_demo", content=content, **more)
    return await user.expect("ack", status="sent")


async def heard(user: User) -> list[str]:
    """Return the contents of the group messages that have come to the user."""
    return [f["data"]["content"] for f in await user.quiet() if f["type"] == "group_chat"]


async def cached(world: World, user: User) -> None:
    """Send a message, and wait until its look-up of the members is settled in Redis."""
    await say(user, "before")

    async def settled() -> bool:
        return bool(await world.redis.ttl(MEMBERS_KEY) > UNVERIFIED_TTL)

    await until_async(settled)


@pytest.mark.gen_test
async def test_sent_with_its_seq_then_the_message_to_all_but_the_sender(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        sent = await say(alice, "hello", msgId="m-1", contentType=2, atUserIds=[1002])
        assert sent.keys() == {"msgId", "status", "timestamp", "id", "seq"}
        assert sent["seq"] == 1
        for user in (bob, carol):
            message = await user.expect("group_chat")
            assert message == {
                "id": sent["id"],
                "msgId": "m-1",
                "fromUserId": 1001,
                "groupId": "g_demo",
                "content": "hello",
                "contentType": 2,
                "createdAt": message["createdAt"],
                "seq": 1,
                "atUserIds": [1002],
            }
        assert await heard(alice) == []
        [row] = await world.rows(select(messages).where(messages.c.msg_id == "m-1"))
        assert (row.id, row.group_id, row.seq, row.at_user_ids) == (
            sent["id"],
            "g_demo",
            1,
            "[1002]",
        )


@pytest.mark.gen_test
async def test_without_mentions_there_is_no_field_of_them(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        none: list[dict[str, Any]] = [{}, {"atUserIds": None}, {"atUserIds": []}]
        for mentions in none:
            await say(alice, "hello", **mentions)
            assert "atUserIds" not in await bob.expect("group_chat")


@pytest.mark.gen_test
async def test_without_a_msg_id_the_gateway_makes_one(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        sent = await say(alice, "hello")
        assert uuid.UUID(sent["msgId"]).version == 7
        assert (await bob.expect("group_chat"))["msgId"] == sent["msgId"]


@pytest.mark.gen_test
async def test_everyone_sees_the_messages_of_a_group_in_the_order_of_seq(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        users = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        for number in range(20):
            for user in users:
                await user.send("group_chat", groupId="g_demo", content=f"{number}")
        for user in users:
            acks = [await user.expect("ack", status="sent") for _ in range(20)]
            own = [ack["seq"] for ack in acks]
            skipped = [f["data"]["seq"] for f in user.skipped if f["type"] == "group_chat"]
            seqs = skipped + [
                (await user.expect("group_chat"))["seq"] for _ in range(40 - len(skipped))
            ]
            assert seqs == sorted(seqs)
            assert own == sorted(own)
            assert sorted(seqs + own) == list(range(1, 61))


@pytest.mark.gen_test
async def test_a_retry_gets_the_first_answer_and_reaches_nobody_again(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        first = await say(alice, "hello", msgId="m-1")
        again = await say(alice, "hello", msgId="m-1")
        assert (again["id"], again["seq"]) == (first["id"], first["seq"])
        await say(alice, "after")
        assert [(await bob.expect("group_chat"))["seq"] for _ in range(2)] == [1, 2]
        [row] = await world.rows(select(func.count()).select_from(messages))
        assert row[0] == 2


@pytest.mark.gen_test
async def test_who_was_not_there_gets_nothing_pushed_and_syncs_by_seq(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        await say(alice, "hello")
        bob = await world.login(1002)
        assert await heard(bob) == []
        assert await world.redis.exists("offline:private:1002") == 0


@pytest.mark.gen_test
async def test_a_list_of_members_that_is_written_in_pieces_is_whole(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_fills, "PIECE", 2)
    async with make_world() as world:
        await cached(world, await world.login(1001))
        assert await members(world) == {1001, 1002, 1003}


@pytest.mark.gen_test
async def test_a_kicked_member_is_told_and_hears_no_more(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await cached(world, alice)
        await world.group.KickMember(
            pb.KickMemberReq(group_id="g_demo", operator_id=1001, member_id=1003)
        )
        event = {"groupId": "g_demo", "operatorId": 1001, "memberId": 1003, "userId": 1003}
        for user in (alice, bob, carol):
            assert await user.expect("kickMember") == event
        await say(alice, "after")
        await bob.expect("group_chat", content="after")
        assert await heard(carol) == []
        assert await members(world) == {1001, 1002}
        await carol.send("group_chat", groupId="g_demo", content="let me in")
        assert (await carol.expect("ack"))["reason"] == "not_member"


@pytest.mark.gen_test
async def test_an_invited_member_is_told_and_hears_what_comes_next(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob, dave = [await world.login(user_id) for user_id in (1001, 1002, 1004)]
        await cached(world, alice)
        await world.group.InviteMembers(
            pb.InviteMembersReq(group_id="g_demo", inviter_id=1001, member_ids=[1004])
        )
        event = {"groupId": "g_demo", "operatorId": 1001, "inviterId": 1001, "memberIds": [1004]}
        for user in (alice, bob, dave):
            assert await user.expect("inviteMember") == event
        await say(alice, "welcome")
        await dave.expect("group_chat", content="welcome")
        await bob.expect("group_chat", content="welcome")
        assert await members(world) == {1001, 1002, 1003, 1004}
        await say(dave, "hello")
        await bob.expect("group_chat", content="hello", fromUserId=1004)


@pytest.mark.gen_test
async def test_who_quits_hears_no_more_and_the_others_are_told(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob, carol = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await cached(world, alice)
        await world.group.QuitGroup(pb.QuitGroupReq(group_id="g_demo", user_id=1003))
        for user in (alice, bob):
            quit_event = await user.expect("quitGroup", groupId="g_demo")
            assert quit_event["memberId"] == 1003
        await say(alice, "after")
        await bob.expect("group_chat", content="after")
        assert await heard(carol) == ["before"]
        assert await members(world) == {1001, 1002}


@pytest.mark.gen_test
async def test_a_dismissed_group_says_so_and_takes_no_more_messages(make_world: MakeWorld) -> None:
    async with make_world() as world:
        users = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        await cached(world, users[0])
        await world.group.DismissGroup(pb.DismissGroupReq(group_id="g_demo", operator_id=1001))
        for user in users:
            assert await user.expect("dismissGroup") == {"groupId": "g_demo", "operatorId": 1001}
        await users[0].send("group_chat", groupId="g_demo", content="anyone?")
        assert (await users[0].expect("ack"))["reason"] == "group_not_found"


@pytest.mark.gen_test
async def test_a_new_group_works_at_once(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob, dave = [await world.login(user_id) for user_id in (1001, 1002, 1004)]
        made = await world.group.CreateGroup(
            pb.CreateGroupReq(owner_id=1001, name="New", member_ids=[1002])
        )
        group_id = made.group.group_id
        for user in (alice, bob):
            assert (await user.expect("createGroup"))["group"]["groupId"] == group_id
        await alice.send("group_chat", groupId=group_id, content="hello")
        assert (await alice.expect("ack"))["seq"] == 1
        await bob.expect("group_chat", groupId=group_id, content="hello")
        assert await heard(dave) == []


@pytest.mark.gen_test
async def test_the_online_members_in_redis_follow_the_membership(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, carol, dave = [await world.login(user_id) for user_id in (1001, 1003, 1004)]

        async def online_is(wanted: set[int]) -> bool:
            return await members(world, ONLINE_KEY) == wanted

        await until_async(lambda: online_is({1001, 1003}))
        await cached(world, alice)
        await world.group.KickMember(
            pb.KickMemberReq(group_id="g_demo", operator_id=1001, member_id=1003)
        )
        await world.group.InviteMembers(
            pb.InviteMembersReq(group_id="g_demo", inviter_id=1001, member_ids=[1004])
        )
        await carol.expect("kickMember")
        await dave.expect("inviteMember")
        await say(alice, "after")
        await until_async(lambda: online_is({1001, 1004}))
        for user in (alice, dave):
            await user.connection.close()
        await until_async(lambda: online_is(set()))


@pytest.mark.gen_test
async def test_a_seq_that_nobody_has_stored_silences_no_group(make_world: MakeWorld) -> None:
    """Told by another program, or by a gateway that believes what it should not."""
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.send("group_chat", groupId="g_demo", content="one")
        await bob.expect("group_chat", content="one", seq=1)
        forged = frame(
            "group_chat",
            GroupMessage(
                id=10**9,
                msg_id="forged",
                from_user_id=1003,
                group_id="g_demo",
                content="forged",
                content_type=1,
                created_at=1,
                seq=10**9,
            ),
        )
        other = await world.add_node()
        other.bus.to_group("g_demo", GroupFrame(forged, sender_id=1003, seq=10**9))
        await until(lambda: world.gateway.stats.group_seqs_refused == 1)
        for content in ("two", "three"):
            await alice.send("group_chat", groupId="g_demo", content=content)
            await bob.expect("group_chat", content=content)
        assert "forged" not in [each["data"].get("content") for each in bob.skipped]


@pytest.mark.gen_test
@pytest.mark.parametrize("known", [True, False])
async def test_the_last_words_of_who_leaves_reach_the_group(
    make_world: MakeWorld, known: bool
) -> None:
    """The message is stored, and its sender no member any more when the members are looked up."""
    async with make_world() as world:
        other = await world.add_node()
        alice, bob = await world.login(1001), await world.login(1002)
        carol = await world.login(1003, node=other)
        if known:
            await cached(world, alice)
        leaves = "DELETE FROM im_group_member WHERE user_id = NEW.from_user_id"
        await world.execute(
            text(f"CREATE TRIGGER leave AFTER INSERT ON im_message BEGIN {leaves}; END")
        )
        await world.redis.delete(MEMBERS_KEY)
        await say(bob, "bye")
        for member in (alice, carol):
            await member.expect("group_chat", content="bye")
