"""The Message service keeps its rules over a real gRPC server and a real database."""

from typing import Any

import pytest
from grpc import StatusCode
from sqlalchemy import delete, insert, update

from skyeim_ws.contract.pb import friend_pb2 as friend_pb
from skyeim_ws.contract.pb import group_pb2 as group_pb
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services import history
from skyeim_ws.services.tables import (
    BLOCKED,
    DISMISSED,
    PRIVATE,
    RECALLED,
    group_seqs,
    groups,
    messages,
    unix_now,
)
from tests.services.conftest import Services, befriend, make_group, refusal


def private(msg_id: str, sender: int = 1, receiver: int = 2, **fields: object) -> pb.SendMessageReq:
    """Return a good request, but for what `fields` changes."""
    values = {"content": f"content of {msg_id}", "content_type": 1} | fields
    return pb.SendMessageReq(
        msg_id=msg_id,
        from_user_id=sender,
        to_user_id=receiver,
        **values,  # type: ignore[arg-type]
    )


def grouped(
    msg_id: str, sender: int = 1, group_id: str = "g", **fields: object
) -> pb.SendGroupMessageReq:
    """Return a good request, but for what `fields` changes."""
    values = {"content": f"content of {msg_id}", "content_type": 1} | fields
    return pb.SendGroupMessageReq(
        msg_id=msg_id,
        from_user_id=sender,
        group_id=group_id,
        **values,  # type: ignore[arg-type]
    )


def ids(response: object) -> list[str]:
    return [info.msg_id for info in response.list]  # type: ignore[attr-defined]


@pytest.mark.gen_test
async def test_a_private_message_is_stored_and_read_back_whole(services: Services) -> None:
    await befriend(services.database, 1, 2)
    before = unix_now()
    sent = await services.message.SendMessage(private("a", content="héllo 🦊", content_type=3))
    assert sent.id > 0
    assert sent.msg_id == "a"
    assert before <= sent.created_at <= unix_now()
    page = await services.message.GetMessageList(pb.GetMessageListReq(user_id=2, peer_id=1))
    assert list(page.list) == [
        pb.MessageInfo(
            id=sent.id,
            msg_id="a",
            from_user_id=1,
            to_user_id=2,
            content="héllo 🦊",
            content_type=3,
            created_at=sent.created_at,
            chat_type=1,
        )
    ]
    assert not page.has_more


@pytest.mark.gen_test
async def test_a_group_message_is_stored_and_read_back_whole(services: Services) -> None:
    await make_group(services.database, "g", 1, [2, 3])
    sent = await services.message.SendGroupMessage(grouped("a", at_user_ids=[3, -1]))
    assert sent.seq == 1
    page = await services.message.GetGroupMessageList(
        pb.GetGroupMessageListReq(user_id=2, group_id="g")
    )
    assert list(page.list) == [
        pb.MessageInfo(
            id=sent.id,
            msg_id="a",
            from_user_id=1,
            content="content of a",
            content_type=1,
            created_at=sent.created_at,
            chat_type=2,
            group_id="g",
            seq=1,
            at_user_ids=[3, -1],
        )
    ]


@pytest.mark.gen_test
async def test_a_private_message_needs_both_rows_of_a_friendship(services: Services) -> None:
    await befriend(services.database, 1, 3, status=BLOCKED)
    await befriend(services.database, 1, 4, back=BLOCKED)
    denied, send = StatusCode.PERMISSION_DENIED, services.message.SendMessage
    assert await refusal(send(private("a", 1, 2))) == (denied, "not_friend")
    assert await refusal(send(private("b", 1, 1))) == (denied, "not_friend")
    for receiver in (3, 4):
        assert await refusal(send(private("c", 1, receiver))) == (denied, "blocked")
        assert await refusal(send(private("d", receiver, 1))) == (denied, "blocked")


@pytest.mark.gen_test
async def test_a_group_message_obeys_membership_mute_and_mentions(services: Services) -> None:
    await make_group(services.database, "g", 1, [2, 3, 4], admins=[2], muted=[1, 3])
    await make_group(services.database, "gone", 1, [2], status=DISMISSED)
    denied, send = StatusCode.PERMISSION_DENIED, services.message.SendGroupMessage
    missing = (StatusCode.NOT_FOUND, "group_not_found")
    assert await refusal(send(grouped("a", 2, "nowhere"))) == missing
    assert await refusal(send(grouped("b", 2, "gone"))) == missing
    assert await refusal(send(grouped("c", 9))) == (denied, "not_member")
    assert await refusal(send(grouped("d", 3))) == (denied, "muted")
    assert await refusal(send(grouped("e", 4, at_user_ids=[-1]))) == (denied, "at_all_denied")
    assert (await send(grouped("f", 1, at_user_ids=[-1]))).seq == 1
    assert (await send(grouped("h", 2, at_user_ids=[-1]))).seq == 2
    assert (await send(grouped("i", 4, at_user_ids=[2]))).seq == 3


@pytest.mark.gen_test
async def test_the_form_of_a_message_is_checked(services: Services) -> None:
    await befriend(services.database, 1, 2)
    await make_group(services.database, "g", 1)
    invalid, send = (StatusCode.INVALID_ARGUMENT, "invalid"), services.message.SendMessage
    for request in (
        private(""),
        private("x" * 65),
        private("blank space"),
        private("line\n"),
        private("a", 0),
        private("a", -1),
        private("a", 1, 0),
        private("a", content=""),
        private("a", content="x" * 16_385),
        private("a", content_type=0),
        private("a", content_type=6),
    ):
        assert await refusal(send(request)) == invalid
    for wrong in (
        grouped("a", group_id=""),
        grouped("a", group_id="g" * 65),
        grouped("a", at_user_ids=[0]),
        grouped("a", at_user_ids=[-2]),
        grouped("a", at_user_ids=[1] * 1_001),
    ):
        assert await refusal(services.message.SendGroupMessage(wrong)) == invalid
    assert (await send(private("x" * 64, content="🦊" * 16_384, content_type=5))).id > 0


@pytest.mark.gen_test
async def test_a_retry_gets_the_first_answer_even_after_the_friendship(services: Services) -> None:
    await befriend(services.database, 1, 2)
    await make_group(services.database, "g", 1)
    first = await services.message.SendMessage(private("a"))
    in_group = await services.message.SendGroupMessage(grouped("b"))
    assert await services.message.SendGroupMessage(grouped("b", content="other")) == in_group
    assert in_group.message.content == "content of b"
    await services.friend.DeleteFriend(friend_pb.DeleteFriendReq(user_id=1, friend_id=2))
    assert await services.message.SendMessage(private("a", content="other")) == first
    assert first.message.content == "content of a"


@pytest.mark.gen_test
async def test_a_msg_id_is_good_for_one_sender_and_receiver(services: Services) -> None:
    """Else a friend's msg_id would open the way to strangers and foreign groups."""
    await befriend(services.database, 1, 2)
    await befriend(services.database, 1, 3)
    await make_group(services.database, "g", 1)
    await make_group(services.database, "h", 1)
    send, send_group = services.message.SendMessage, services.message.SendGroupMessage
    await send(private("a"))
    await send_group(grouped("b"))
    conflict = (StatusCode.ALREADY_EXISTS, "msg_id_conflict")
    for call in (
        send(private("a", 2, 1)),
        send(private("a", 1, 3)),
        send(private("a", 1, 99)),
        send_group(grouped("a")),
        send(private("b")),
        send_group(grouped("b", 1, "h")),
        send_group(grouped("b", 1, "nowhere")),
    ):
        assert await refusal(call) == conflict


@pytest.mark.gen_test
async def test_private_history_pages_newest_first_and_shows_own_conversations_only(
    services: Services,
) -> None:
    await befriend(services.database, 1, 2)
    await befriend(services.database, 1, 3)
    for number in range(5):
        await services.message.SendMessage(private(f"m{number}", 1 + number % 2, 2 - number % 2))
    await services.message.SendMessage(private("other", 1, 3))
    ask = services.message.GetMessageList
    newest = await ask(pb.GetMessageListReq(user_id=1, peer_id=2, limit=3))
    assert ids(newest) == ["m4", "m3", "m2"]
    assert newest.has_more
    rest = await ask(
        pb.GetMessageListReq(user_id=2, peer_id=1, limit=3, last_msg_id=newest.list[-1].id)
    )
    assert ids(rest) == ["m1", "m0"]
    assert not rest.has_more
    assert ids(await ask(pb.GetMessageListReq(user_id=3, peer_id=2))) == []
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    assert await refusal(ask(pb.GetMessageListReq(user_id=0, peer_id=2))) == invalid


@pytest.mark.gen_test
async def test_limits_default_to_20_and_stop_at_500(services: Services) -> None:
    await befriend(services.database, 1, 2)
    await send_many(services, 520)
    ask = services.message.GetMessageList
    for wanted, given in ((0, 20), (-5, 20), (7, 7), (500, 500), (5_000, 500)):
        page = await ask(pb.GetMessageListReq(user_id=1, peer_id=2, limit=wanted))
        assert (len(page.list), page.has_more) == (given, True)


async def send_many(services: Services, count: int, group_id: str = "") -> None:
    items = [
        pb.SendItem(group=grouped(f"m{n}", 1, group_id))
        if group_id
        else pb.SendItem(private=private(f"m{n}"))
        for n in range(count)
    ]
    response = await services.message.SendBatch(pb.SendBatchReq(items=items))
    assert {result.code for result in response.results} == {0}


@pytest.mark.gen_test
async def test_group_messages_by_seq_are_ascending_and_at_most_200(services: Services) -> None:
    await make_group(services.database, "g", 1, [2])
    await send_many(services, 203, "g")
    ask = services.message.GetGroupMessagesBySeq

    async def seqs(after: int) -> list[int]:
        response = await ask(pb.GetGroupMessagesBySeqReq(user_id=2, group_id="g", seq=after))
        return [info.seq for info in response.list]

    assert await seqs(0) == list(range(1, 201))
    assert await seqs(200) == [201, 202, 203]
    assert await seqs(2**64 - 1) == []
    page = await services.message.GetGroupMessageList(
        pb.GetGroupMessageListReq(user_id=1, group_id="g", limit=2)
    )
    assert [info.seq for info in page.list] == [203, 202]
    older = await services.message.GetGroupMessageList(
        pb.GetGroupMessageListReq(user_id=1, group_id="g", limit=2, last_msg_id=page.list[-1].id)
    )
    assert [info.seq for info in older.list] == [201, 200]


@pytest.mark.gen_test
async def test_group_history_is_for_members_and_outlives_the_group(services: Services) -> None:
    await make_group(services.database, "g", 1, [2])
    await services.message.SendGroupMessage(grouped("a", at_user_ids=[2]))
    async with services.database.write() as connection:
        await connection.execute(update(groups).values(status=DISMISSED))
    asks: list[tuple[Any, Any]] = [
        (services.message.GetGroupMessageList, pb.GetGroupMessageListReq),
        (services.message.GetGroupMessagesBySeq, pb.GetGroupMessagesBySeqReq),
        (services.message.GetAtMeMessages, pb.GetAtMeMessagesReq),
    ]
    for call, request in asks:
        assert ids(await call(request(user_id=2, group_id="g"))) == ["a"]
        for user_id, group_id, expected in (
            (9, "g", (StatusCode.PERMISSION_DENIED, "not_member")),
            (1, "nowhere", (StatusCode.NOT_FOUND, "group_not_found")),
            (0, "g", (StatusCode.INVALID_ARGUMENT, "invalid")),
            (1, "g" * 65, (StatusCode.INVALID_ARGUMENT, "invalid")),
        ):
            wrong = request(user_id=user_id, group_id=group_id)
            assert await refusal(call(wrong)) == expected


@pytest.mark.gen_test
async def test_at_me_finds_the_user_and_everyone_but_no_similar_number(services: Services) -> None:
    await make_group(services.database, "g", 1, [2, 12, 21])
    mentions = {"a": [2], "b": [12, 21], "c": [-1], "d": [1, 2, 3], "e": [], "f": [22, 2]}
    for msg_id, at_user_ids in mentions.items():
        await services.message.SendGroupMessage(grouped(msg_id, at_user_ids=at_user_ids))
    ask = services.message.GetAtMeMessages
    found = await ask(pb.GetAtMeMessagesReq(user_id=2, group_id="g"))
    assert ids(found) == ["f", "d", "c", "a"]
    page = await ask(pb.GetAtMeMessagesReq(user_id=2, group_id="g", limit=3))
    assert ids(page) == ["f", "d", "c"]
    assert page.has_more
    rest = await ask(pb.GetAtMeMessagesReq(user_id=2, group_id="g", last_msg_id=page.list[-1].id))
    assert ids(rest) == ["a"]


@pytest.mark.gen_test
async def test_unread_messages_are_counted_listed_oldest_first_and_marked(
    services: Services,
) -> None:
    await befriend(services.database, 1, 2)
    await befriend(services.database, 3, 2)
    await befriend(services.database, 3, 1)
    for msg_id, sender in (("a", 1), ("b", 3), ("c", 1), ("d", 3)):
        await services.message.SendMessage(private(msg_id, sender, 2))
    await services.message.SendMessage(private("not-mine", 3, 1))

    async def unread(peer_id: int = 0) -> list[str]:
        request = pb.GetUnreadMessagesReq(user_id=2, peer_id=peer_id)
        listed = ids(await services.message.GetUnreadMessages(request))
        count = await services.message.GetUnreadCount(
            pb.GetUnreadCountReq(user_id=2, peer_id=peer_id)
        )
        assert count.count == len(listed)
        return listed

    async def mark(peer_id: int, *msg_ids: str) -> int:
        request = pb.MarkAsReadReq(user_id=2, peer_id=peer_id, msg_ids=msg_ids)
        return (await services.message.MarkAsRead(request)).count

    assert await unread() == ["a", "b", "c", "d"]
    assert await unread(3) == ["b", "d"]
    assert await mark(3, "a", "d", "not-mine", "unknown") == 1
    assert await unread() == ["a", "b", "c"]
    assert await mark(1) == 2
    assert await mark(1) == 0
    assert await mark(0, "b", "b", "not-mine") == 1
    assert await unread() == []
    other = await services.message.GetUnreadCount(pb.GetUnreadCountReq(user_id=1))
    assert other.count == 1
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    assert await refusal(services.message.MarkAsRead(pb.MarkAsReadReq(user_id=2))) == invalid
    many = pb.MarkAsReadReq(user_id=2, msg_ids=["x"] * 10_001)
    assert await refusal(services.message.MarkAsRead(many)) == invalid


@pytest.mark.gen_test
async def test_a_list_is_cut_before_it_outgrows_an_answer(services: Services) -> None:
    """Ten messages of half a megabyte: an answer has as many as fit, and says there are more."""
    async with services.database.write() as connection:
        await connection.execute(
            insert(messages),
            [
                {
                    "msg_id": f"m{n}",
                    "from_user_id": 1,
                    "to_user_id": 2,
                    "chat_type": PRIVATE,
                    "content": "x" * 500_000,
                }
                for n in range(10)
            ],
        )
    page = await services.message.GetMessageList(pb.GetMessageListReq(user_id=1, peer_id=2))
    assert ids(page) == [f"m{n}" for n in range(9, 3, -1)]
    assert page.has_more
    assert page.ByteSize() <= history.REPLY_BYTES + 1_000
    unread = await services.message.GetUnreadMessages(pb.GetUnreadMessagesReq(user_id=2))
    assert ids(unread) == [f"m{n}" for n in range(6)]


@pytest.mark.gen_test
async def test_messages_since_an_id_are_the_private_ones_to_the_user(services: Services) -> None:
    await befriend(services.database, 1, 2)
    await make_group(services.database, "g", 1, [2])
    first = await services.message.SendMessage(private("a"))
    await services.message.SendGroupMessage(grouped("b"))
    await services.message.SendMessage(private("c", 2, 1))
    await services.message.SendMessage(private("d"))
    await services.message.SendMessage(private("e"))
    ask = services.message.GetMessagesSince
    assert ids(await ask(pb.GetMessagesSinceReq(user_id=2))) == ["a", "d", "e"]
    page = await ask(pb.GetMessagesSinceReq(user_id=2, after_id=first.id, limit=1))
    assert ids(page) == ["d"]
    assert page.has_more
    rest = await ask(pb.GetMessagesSinceReq(user_id=2, after_id=page.list[0].id))
    assert ids(rest) == ["e"]
    assert not rest.has_more


@pytest.mark.gen_test
async def test_search_finds_text_as_written_in_own_conversations_only(services: Services) -> None:
    await befriend(services.database, 1, 2)
    await befriend(services.database, 2, 3)
    await make_group(services.database, "g", 1, [2])
    await make_group(services.database, "h", 2, [3])
    await services.message.SendMessage(private("a", 1, 2, content="100% sure_"))
    await services.message.SendMessage(private("b", 2, 3, content="100% sure_"))
    await services.message.SendGroupMessage(grouped("c", 1, "g", content="all 100% sure_ here"))
    await services.message.SendGroupMessage(grouped("d", 2, "h", content="100% sure_"))
    await services.message.SendMessage(private("e", 2, 1, content="1000 sure"))
    await services.message.SendMessage(private("f", 2, 1, content="100% sure_, recalled"))
    async with services.database.write() as connection:
        await connection.execute(
            update(messages).where(messages.c.msg_id == "f").values(status=RECALLED)
        )

    async def found(user_id: int, keyword: str) -> list[str]:
        request = pb.SearchMessageReq(user_id=user_id, keyword=keyword)
        return ids(await services.message.SearchMessage(request))

    assert await found(1, "100% sure_") == ["c", "a"]
    assert await found(3, "sure") == ["d", "b"]
    assert await found(9, "sure") == []
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    for keyword in ("", "  ", "x" * 257):
        request = pb.SearchMessageReq(user_id=1, keyword=keyword)
        assert await refusal(services.message.SearchMessage(request)) == invalid


@pytest.mark.gen_test
async def test_rows_of_an_existing_database_with_nulls_and_odd_mentions_are_readable(
    services: Services,
) -> None:
    await make_group(services.database, "g", 1)
    async with services.database.write() as connection:
        await connection.execute(
            insert(messages),
            [
                {
                    "msg_id": f"m{n}",
                    "from_user_id": 1,
                    "chat_type": 2,
                    "group_id": "g",
                    "seq": n + 1,
                    "content": "x",
                    "at_user_ids": text,
                }
                for n, text in enumerate(["[1, 2]", "", "null", "not json", '["x", 3, true]'])
            ],
        )
    response = await services.message.GetGroupMessagesBySeq(
        pb.GetGroupMessagesBySeqReq(user_id=1, group_id="g")
    )
    assert [list(info.at_user_ids) for info in response.list] == [[1, 2], [], [], [], [3]]
    # And the next message goes on where the other program has stopped.
    assert (await services.message.SendGroupMessage(grouped("next"))).seq == 6


@pytest.mark.gen_test
async def test_at_me_without_a_group_looks_in_all_groups_of_the_user(services: Services) -> None:
    await make_group(services.database, "g", 1, [2])
    await make_group(services.database, "h", 1, [2])
    await make_group(services.database, "foreign", 1, [3])
    for msg_id, group_id in (("a", "h"), ("b", "g"), ("c", "foreign"), ("d", "h")):
        await services.message.SendGroupMessage(grouped(msg_id, 1, group_id, at_user_ids=[2]))
    ask = services.message.GetAtMeMessages
    assert ids(await ask(pb.GetAtMeMessagesReq(user_id=2))) == ["d", "b", "a"]
    page = await ask(pb.GetAtMeMessagesReq(user_id=2, limit=1))
    assert page.has_more
    older = await ask(pb.GetAtMeMessagesReq(user_id=2, last_msg_id=page.list[0].id))
    assert ids(older) == ["b", "a"]
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    assert await refusal(ask(pb.GetAtMeMessagesReq())) == invalid


async def conversations(
    services: Services, user_id: int, before_id: int = 0, limit: int = 0
) -> tuple[list[tuple[int | str, str, int]], int, bool]:
    """Return peer or group, last msgId and unread count of each; where a next page begins; more."""
    found = await services.message.GetConversations(
        pb.GetConversationsReq(user_id=user_id, before_id=before_id, limit=limit)
    )
    shown = [
        (each.peer_id or each.group_id, each.last_message.msg_id, each.unread_count)
        for each in found.list
    ]
    assert not any(each.peer_id and each.group_id for each in found.list)
    return shown, found.list[-1].last_message.id if found.list else 0, found.has_more


@pytest.mark.gen_test
async def test_conversations_are_the_last_messages_of_peers_and_groups(services: Services) -> None:
    for peer in (2, 3):
        await befriend(services.database, 1, peer)
    await befriend(services.database, 2, 3)
    await make_group(services.database, "g", 1, [2])
    await make_group(services.database, "silent", 1, [2])
    await make_group(services.database, "foreign", 3, [2])
    assert await conversations(services, 1) == ([], 0, False)
    send, send_group = services.message.SendMessage, services.message.SendGroupMessage
    await send(private("to-3", 1, 3))
    await send(private("from-2", 2, 1))
    await send(private("from-2-again", 2, 1))
    for msg_id, sender in (("g-1", 2), ("g-2", 1), ("g-3", 2)):
        await send_group(grouped(msg_id, sender, "g"))
    await send_group(grouped("foreign-1", 3, "foreign"))
    await send(private("not-mine", 2, 3))
    await send(private("back-to-2", 1, 2))
    expected = [(2, "back-to-2", 2), ("g", "g-3", 2), (3, "to-3", 0)]
    assert (await conversations(services, 1))[0] == expected
    first, last_id, more = await conversations(services, 1, limit=2)
    assert (first, more) == (expected[:2], True)
    rest, last_id, more = await conversations(services, 1, last_id, limit=2)
    assert (rest, more) == (expected[2:], False)
    assert await conversations(services, 1, last_id) == ([], 0, False)
    await services.group.UpdateGroupReadSeq(
        group_pb.UpdateGroupReadSeqReq(group_id="g", user_id=1, read_seq=2)
    )
    await services.message.MarkAsRead(pb.MarkAsReadReq(user_id=1, peer_id=2))
    assert [count for *_, count in (await conversations(services, 1))[0]] == [0, 1, 0]
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    ask = services.message.GetConversations
    assert await refusal(ask(pb.GetConversationsReq())) == invalid


@pytest.mark.gen_test
async def test_a_page_of_conversations_fits_into_an_answer(services: Services) -> None:
    """Seventy messages of 64 KiB are more than gRPC takes at once."""
    for peer in range(2, 72):
        await befriend(services.database, 1, peer)
        await services.message.SendMessage(private(f"m{peer}", peer, 1, content="🦊" * 16_384))
    seen: list[int | str] = []
    before_id, more = 0, True
    while more:
        page, before_id, more = await conversations(services, 1, before_id, limit=200)
        assert page
        seen += [peer for peer, *_ in page]
    assert seen == list(range(71, 1, -1))


@pytest.mark.gen_test
async def test_many_unread_of_a_group_are_not_counted_one_by_one(services: Services) -> None:
    await make_group(services.database, "g", 1, [2])
    await send_many(services, 1_000, "g")
    assert (await conversations(services, 1))[0] == [("g", "m999", 0)]
    assert (await conversations(services, 2))[0] == [("g", "m999", 1_000)]
    await services.message.SendGroupMessage(grouped("one-more", 1, "g"))
    assert (await conversations(services, 1))[0] == [("g", "one-more", 1_001)]


@pytest.mark.gen_test
async def test_unread_messages_come_page_by_page(services: Services) -> None:
    for peer in (2, 3):
        await befriend(services.database, peer, 1)
    for number in range(12):
        await services.message.SendMessage(private(f"m{number}", 2 + number % 2, 1))
    await services.message.MarkAsRead(pb.MarkAsReadReq(user_id=1, msg_ids=["m3", "m4"]))
    ask = services.message.GetUnreadPage
    unread = [f"m{number}" for number in range(12) if number not in (3, 4)]
    first = await ask(pb.GetUnreadPageReq(user_id=1, limit=4))
    assert (ids(first), first.has_more) == (unread[:4], True)
    second = await ask(pb.GetUnreadPageReq(user_id=1, limit=4, after_id=first.list[-1].id))
    assert (ids(second), second.has_more) == (unread[4:8], True)
    third = await ask(pb.GetUnreadPageReq(user_id=1, limit=4, skip=8))
    assert (ids(third), third.has_more) == (unread[8:], False)
    assert ids(await ask(pb.GetUnreadPageReq(user_id=1, skip=10))) == []
    assert ids(await ask(pb.GetUnreadPageReq(user_id=2))) == []
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    assert await refusal(ask(pb.GetUnreadPageReq())) == invalid
    assert await refusal(ask(pb.GetUnreadPageReq(user_id=1, skip=-1))) == invalid


@pytest.mark.gen_test
async def test_operators_find_any_message_by_its_msg_id(services: Services) -> None:
    await befriend(services.database, 1, 2)
    stored = await services.message.SendMessage(private("m", 1, 2))
    found = (await services.message.FindMessage(pb.FindMessageReq(msg_id="m"))).message
    assert (found.id, found.from_user_id, found.to_user_id) == (stored.id, 1, 2)
    missing = services.message.FindMessage(pb.FindMessageReq(msg_id="n"))
    assert await refusal(missing) == (StatusCode.NOT_FOUND, "message_not_found")


@pytest.mark.gen_test
async def test_the_newest_seqs_of_groups_are_told(services: Services) -> None:
    """Also of a group into which another service has written."""
    for group_id in ("g", "h", "old"):
        await make_group(services.database, group_id, 1, [2])
    for msg_id, group_id in (("a", "g"), ("b", "g"), ("c", "h"), ("d", "old"), ("e", "old")):
        await services.message.SendGroupMessage(grouped(msg_id, 1, group_id))
    async with services.database.write() as connection:
        await connection.execute(delete(group_seqs).where(group_seqs.c.group_id == "old"))
    ask = services.message.GetNewestSeqs
    found = await ask(pb.GetNewestSeqsReq(group_ids=["g", "h", "old", "none"]))
    assert {each.group_id: each.seq for each in found.list} == {"g": 2, "h": 1, "old": 2}
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    assert await refusal(ask(pb.GetNewestSeqsReq(group_ids=["g"] * 1_001))) == invalid


@pytest.mark.gen_test
async def test_senders_are_told_to_the_receiver_alone(services: Services) -> None:
    await befriend(services.database, 1, 2)
    await befriend(services.database, 1, 3)
    await make_group(services.database, "g", 2, [1])
    await services.message.SendMessage(private("from-2", 2, 1))
    await services.message.SendMessage(private("from-3", 3, 1))
    await services.message.SendMessage(private("mine", 1, 2))
    await services.message.SendGroupMessage(grouped("grouped", 2, "g"))
    named = ["from-2", "from-3", "from-3", "mine", "grouped", "none"]
    ask = services.message.GetSenders
    found = await ask(pb.GetSendersReq(user_id=1, msg_ids=named))
    assert {each.msg_id: each.from_user_id for each in found.list} == {"from-2": 2, "from-3": 3}
    assert not (await ask(pb.GetSendersReq(user_id=1))).list
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid")
    assert await refusal(ask(pb.GetSendersReq(msg_ids=named))) == invalid
    assert await refusal(ask(pb.GetSendersReq(user_id=1, msg_ids=["m"] * 10_001))) == invalid
