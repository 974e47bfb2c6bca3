"""The clients of the three services, against real servers with scripted answers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from msgspec import UNSET
from structlog.testing import capture_logs

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import friend_pb2, group_pb2, message_pb2
from skyeim_ws.contract.texts import explanation
from skyeim_ws.logic.archive import Archive
from skyeim_ws.logic.contacts import FriendPages, GroupPages
from skyeim_ws.logic.outgoing import MessageWriter
from skyeim_ws.logic.ports import Friends, Groups, HistoryMessage, Messages, Refused, Unavailable
from skyeim_ws.rpc.archive import ArchiveClient
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.messages import MessageClient
from tests.rpc.servers import failing, pooling, serving


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 's'}"


def ports(
    friends: FriendClient,
    groups: GroupClient,
    messages: MessageClient,
    archive: ArchiveClient,
    batcher: Batcher,
) -> tuple[Friends, FriendPages, Groups, GroupPages, Messages, Archive, MessageWriter]:
    """Checked by the type checker alone: the clients are the ports."""
    return friends, friends, groups, groups, messages, archive, batcher


class Pages:
    """Serves a list in pages, or whole whatever is asked."""

    def __init__(self, entries: list[Any], *, whole: bool = False) -> None:
        self.entries = entries
        self.whole = whole
        self.asked: list[tuple[int, int]] = []

    def take(self, page: int, size: int) -> list[Any]:
        self.asked.append((page, size))
        return self.entries if self.whole else self.entries[(page - 1) * size : page * size]

    async def friends(self, request: Any, context: Any) -> friend_pb2.GetFriendListResp:
        found = self.take(request.page, request.page_size)
        return friend_pb2.GetFriendListResp(list=found, total=len(self.entries))

    async def groups(self, request: Any, context: Any) -> group_pb2.GetUserGroupListResp:
        found = self.take(request.page, request.page_size)
        return group_pb2.GetUserGroupListResp(groups=found, total=len(self.entries))

    async def members(self, request: Any, context: Any) -> group_pb2.GetMemberListResp:
        found = self.take(request.page, request.page_size)
        return group_pb2.GetMemberListResp(members=found, total=len(self.entries))


@pytest.mark.gen_test
async def test_friends_come_from_all_pages_without_those_blocked(address: str) -> None:
    pages = Pages(
        [friend_pb2.FriendInfo(friend_id=n, status=2 if n % 10 == 0 else 1) for n in range(1, 2502)]
    )
    async with serving(address, friend={"GetFriendList": pages.friends}), pooling(address) as pool:
        found = await FriendClient(pool).friends(1)
    assert found == {n for n in range(1, 2502) if n % 10}
    assert pages.asked == [(1, 1000), (2, 1000), (3, 1000)]


@pytest.mark.gen_test
async def test_each_page_has_a_deadline_of_its_own(address: str) -> None:
    """Else the members of a large group could not be found in the time of one call."""
    begun: list[float] = []
    ended: list[float] = []

    def slowly(answer: Any) -> Any:
        async def method(request: Any, context: Any) -> Any:
            begun.append(context.time_remaining())
            await asyncio.sleep(0.5)
            ended.append(context.time_remaining())
            return await answer(request, context)

        return method

    friends = Pages([friend_pb2.FriendInfo(friend_id=n, status=1) for n in range(1_001)])
    members = Pages([group_pb2.MemberInfo(user_id=n) for n in range(10_001)])
    of_friends = {"GetFriendList": slowly(friends.friends)}
    of_groups = {"GetMemberList": slowly(members.members)}
    async with serving(address, friend=of_friends, group=of_groups), pooling(address) as pool:
        assert len(await FriendClient(pool).friends(1)) == 1_001
        assert len(await GroupClient(pool).fetch_members("g", 1)) == 10_001
    assert [later > sooner for sooner, later in zip(ended, begun[1:], strict=False)] == [True] * 3


@pytest.mark.gen_test
async def test_nobody_is_a_friend_of_a_stranger(address: str) -> None:
    pages = Pages([])
    async with serving(address, friend={"GetFriendList": pages.friends}), pooling(address) as pool:
        assert await FriendClient(pool).friends(1) == frozenset()


@pytest.mark.gen_test
@pytest.mark.parametrize("whole", [True, False])
async def test_members_come_whether_or_not_the_server_pages(address: str, whole: bool) -> None:
    pages = Pages([group_pb2.MemberInfo(user_id=n) for n in range(1, 10_003)], whole=whole)
    async with serving(address, group={"GetMemberList": pages.members}), pooling(address) as pool:
        assert await GroupClient(pool).fetch_members("g", 1) == set(range(1, 10_003))
    assert pages.asked == ([(1, 10_000)] if whole else [(1, 10_000), (2, 10_000)])


@pytest.mark.gen_test
async def test_pages_that_bring_nothing_new_end_the_search(address: str) -> None:
    async def members(request: Any, context: Any) -> group_pb2.GetMemberListResp:
        return group_pb2.GetMemberListResp(members=[group_pb2.MemberInfo(user_id=1)], total=5)

    async with serving(address, group={"GetMemberList": members}), pooling(address) as pool:
        assert await GroupClient(pool).fetch_members("g", 0) == {1}


@pytest.mark.gen_test
async def test_the_groups_of_a_user_and_its_read_mark(address: str) -> None:
    marks: list[Any] = []

    async def joined(request: Any, context: Any) -> group_pb2.GetJoinedGroupsResp:
        seats = [group_pb2.MemberInfo(group_id=f"g{n}", user_id=request.user_id) for n in (1, 2)]
        return group_pb2.GetJoinedGroupsResp(list=seats)

    async def update(request: Any, context: Any) -> group_pb2.UpdateGroupReadSeqResp:
        marks.append((request.user_id, request.group_id, request.read_seq))
        return group_pb2.UpdateGroupReadSeqResp(success=True)

    methods = {"GetJoinedGroups": joined, "UpdateGroupReadSeq": update}
    async with serving(address, group=methods), pooling(address) as pool:
        groups = GroupClient(pool)
        assert await groups.joined(7) == ["g1", "g2"]
        await groups.update_read_seq(7, "g1", 42)
    assert marks == [(7, "g1", 42)]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (StatusCode.PERMISSION_DENIED, "", Reason.NOT_MEMBER),
        (StatusCode.NOT_FOUND, "group_not_found", Reason.GROUP_NOT_FOUND),
        (StatusCode.PERMISSION_DENIED, "role_too_low", Reason.NOT_MEMBER),
    ],
)
async def test_a_refusal_is_told_in_our_own_words(
    address: str, code: StatusCode, reason: str, expected: Reason
) -> None:
    methods = {"GetMemberList": failing(code, "their text", reason)}
    async with serving(address, group=methods), pooling(address) as pool:
        with pytest.raises(Refused) as caught:
            await GroupClient(pool).fetch_members("g", 1)
    assert (caught.value.reason, caught.value.phrase) == (expected, explanation(expected))


@pytest.mark.gen_test
async def test_trouble_is_told_as_unavailable(address: str) -> None:
    methods = {"GetFriendList": failing(StatusCode.INTERNAL, "boom")}
    async with serving(address, friend=methods), pooling(address) as pool:
        with capture_logs() as logs, pytest.raises(Unavailable):
            await FriendClient(pool).friends(1)
    codes = [entry["code"] for entry in logs if entry["event"] == "rpc_failed"]
    assert codes == ["INTERNAL"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({(1, 2): 2, (2, 1): 1}, Reason.BLOCKED),
        ({(1, 2): 1, (2, 1): 2}, Reason.BLOCKED),
        ({(1, 2): 0, (2, 1): 0}, Reason.NOT_FRIEND),
        ({(1, 2): 1, (2, 1): 0}, Reason.NOT_FRIEND),
    ],
)
async def test_why_a_private_message_is_denied(
    address: str, statuses: dict[tuple[int, int], int], expected: Reason
) -> None:
    async def is_friend(request: Any, context: Any) -> friend_pb2.IsFriendResp:
        status = statuses[request.user_id, request.friend_id]
        return friend_pb2.IsFriendResp(is_friend=status == 1, status=status)

    async with serving(address, friend={"IsFriend": is_friend}), pooling(address) as pool:
        assert await FriendClient(pool).why_denied(1, 2, 10) is expected


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("member", "at_all", "expected"),
    [
        (None, True, Reason.NOT_MEMBER),
        (group_pb2.MemberInfo(role=3, mute=1), True, Reason.MUTED),
        (group_pb2.MemberInfo(role=3), True, Reason.AT_ALL_DENIED),
        (group_pb2.MemberInfo(role=3), False, Reason.NOT_MEMBER),
        (group_pb2.MemberInfo(role=1), True, Reason.NOT_MEMBER),
    ],
)
async def test_why_a_group_message_is_denied(
    address: str, member: group_pb2.MemberInfo | None, at_all: bool, expected: Reason
) -> None:
    async def check(request: Any, context: Any) -> group_pb2.CheckMembershipResp:
        return group_pb2.CheckMembershipResp(is_member=member is not None, member=member)

    async with serving(address, group={"CheckMembership": check}), pooling(address) as pool:
        reason = await GroupClient(pool).why_denied("g", 1, at_all=at_all, timeout=10)
    assert reason is expected


async def let_in(request: Any, context: Any) -> group_pb2.CheckMembershipResp:
    return group_pb2.CheckMembershipResp(is_member=request.user_id == 1)


@pytest.mark.gen_test
@pytest.mark.parametrize("whole", [False, True])
async def test_a_page_is_a_page_also_of_a_server_that_ignores_paging(
    address: str, whole: bool
) -> None:
    friends = Pages([friend_pb2.FriendInfo(friend_id=n) for n in range(5)], whole=whole)
    groups = Pages([group_pb2.GroupInfo(group_id=f"{n}") for n in range(5)], whole=whole)
    members = Pages([group_pb2.MemberInfo(user_id=n) for n in range(5)], whole=whole)
    of_groups = {
        "CheckMembership": let_in,
        "GetUserGroupList": groups.groups,
        "GetMemberList": members.members,
    }
    async with (
        serving(address, friend={"GetFriendList": friends.friends}, group=of_groups),
        pooling(address) as pool,
    ):
        for page, expected in ((1, [0, 1]), (2, [2, 3]), (3, [4]), (4, [])):
            found, total = await FriendClient(pool).friend_page(1, page, 2)
            assert ([friend.friend_id for friend in found], total) == (expected, 5)
            joined, total = await GroupClient(pool).group_page(1, page, 2)
            assert ([int(group.group_id) for group in joined], total) == (expected, 5)
            seats, total = await GroupClient(pool).member_page(1, "g", page, 2)
            assert ([seat.user_id for seat in seats], total) == (expected, 5)
        assert len(members.asked) == 4
        with pytest.raises(Refused) as refused:
            await GroupClient(pool).member_page(2, "g", 1, 2)
        assert refused.value.reason is Reason.NOT_MEMBER
        assert len(members.asked) == 4, "the members of a group are nobody else's business"


async def nobody(user_id: int) -> frozenset[int]:
    """The friends of somebody who has none."""
    return frozenset()


class StoredMessages:
    """A Message service with a few messages, given out in no useful order."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.found = [
            message_pb2.MessageInfo(
                id=n,
                msg_id=f"m{n}",
                from_user_id=2,
                to_user_id=1,
                content="hi",
                content_type=1,
                created_at=100 + n,
                chat_type=1,
                seq=n,
                at_user_ids=[-1],
            )
            for n in (3, 1, 4, 2)
        ]

    async def unread(self, request: Any, context: Any) -> message_pb2.GetUnreadMessagesResp:
        self.asked.append(request)
        return message_pb2.GetUnreadMessagesResp(list=self.found)

    async def by_seq(self, request: Any, context: Any) -> message_pb2.GetGroupMessagesBySeqResp:
        self.asked.append(request)
        return message_pb2.GetGroupMessagesBySeqResp(list=self.found)

    async def page(self, request: Any, context: Any) -> message_pb2.GetMessageListResp:
        self.asked.append(request)
        return message_pb2.GetMessageListResp(list=self.found, has_more=True)

    async def group_page(self, request: Any, context: Any) -> message_pb2.GetGroupMessageListResp:
        self.asked.append(request)
        return message_pb2.GetGroupMessageListResp(list=self.found, has_more=False)

    async def mark(self, request: Any, context: Any) -> message_pb2.MarkAsReadResp:
        self.asked.append(request)
        return message_pb2.MarkAsReadResp(count=2)

    async def count(self, request: Any, context: Any) -> message_pb2.GetUnreadCountResp:
        self.asked.append(request)
        return message_pb2.GetUnreadCountResp(count=4)

    async def since(self, request: Any, context: Any) -> message_pb2.GetMessagesSinceResp:
        self.asked.append(request)
        return message_pb2.GetMessagesSinceResp(list=self.found[:1], has_more=True)


def ids(found: list[HistoryMessage]) -> list[int]:
    return [message.id for message in found]


@pytest.mark.gen_test
async def test_messages_are_read_in_order_and_whole(address: str) -> None:
    archive = StoredMessages()
    methods = {
        "GetUnreadMessages": archive.unread,
        "GetGroupMessagesBySeq": archive.by_seq,
        "GetMessageList": archive.page,
        "GetGroupMessageList": archive.group_page,
        "MarkAsRead": archive.mark,
        "GetUnreadCount": archive.count,
    }
    async with serving(address, message=methods), pooling(address) as pool:
        messages = MessageClient(pool, nobody)
        unread = await messages.unread(1)
        assert ids(unread) == [1, 2, 3, 4]
        assert unread[0] == HistoryMessage(
            id=1,
            msg_id="m1",
            from_user_id=2,
            to_user_id=1,
            chat_type=1,
            group_id="",
            content="hi",
            content_type=1,
            status=0,
            created_at=101,
            seq=1,
            at_user_ids=[-1],
        )
        assert ids(await messages.group_since(1, "g", 0)) == [1, 2, 3, 4]
        found, more = await messages.history(1, 2, 9, 4)
        assert (ids(found), more) == ([4, 3, 2, 1], True)
        found, more = await messages.group_history(1, "g", 9, 50)
        assert (ids(found), more) == ([4, 3, 2, 1], False)
        assert await messages.mark_read(1, 2, ["m1", "m2"]) == 2
        assert await messages.unread_count(1, 2) == 4
    assert archive.asked == [
        message_pb2.GetUnreadMessagesReq(user_id=1),
        message_pb2.GetGroupMessagesBySeqReq(user_id=1, group_id="g"),
        message_pb2.GetMessageListReq(user_id=1, peer_id=2, last_msg_id=9, limit=4),
        message_pb2.GetGroupMessageListReq(user_id=1, group_id="g", last_msg_id=9, limit=50),
        message_pb2.MarkAsReadReq(user_id=1, peer_id=2, msg_ids=["m1", "m2"]),
        message_pb2.GetUnreadCountReq(user_id=1, peer_id=2),
    ]


@pytest.mark.gen_test
async def test_messages_since_an_id(address: str) -> None:
    archive = StoredMessages()
    async with (
        serving(address, message={"GetMessagesSince": archive.since}),
        pooling(address) as pool,
    ):
        found, more = await MessageClient(pool, nobody).since(1, 2, 10)
    assert (ids(found), more) == ([3], True)
    assert archive.asked == [message_pb2.GetMessagesSinceReq(user_id=1, after_id=2, limit=10)]


@pytest.mark.gen_test
async def test_from_an_older_server_since_gives_the_unread_ones(address: str) -> None:
    archive = StoredMessages()
    methods = {"GetUnreadMessages": archive.unread, "GetUnreadCount": archive.count}
    async with (
        serving(address, message=methods),
        pooling(address) as pool,
    ):
        messages = MessageClient(pool, nobody)
        with capture_logs() as logs:
            answers = [await messages.since(1, 1, limit) for limit in (2, 3)]
    assert [(ids(found), more) for found, more in answers] == [([2, 3], True), ([2, 3, 4], False)]
    assert [(entry["event"], entry["log_level"], entry["method"]) for entry in logs] == [
        ("method_unsupported", "info", "GetMessagesSince"),
        ("method_unsupported", "info", "GetUnreadPage"),
    ]


@pytest.mark.gen_test
async def test_since_fails_as_every_call_does(address: str) -> None:
    methods = {"GetMessagesSince": failing(StatusCode.INTERNAL)}
    async with serving(address, message=methods), pooling(address) as pool:
        with pytest.raises(Unavailable):
            await MessageClient(pool, nobody).since(1, 1, 10)


@pytest.mark.gen_test
async def test_conversations_come_from_servers_that_know_them(address: str) -> None:
    last = message_pb2.MessageInfo(id=7, msg_id="m7", from_user_id=2, to_user_id=1, chat_type=1)
    asked = []

    async def tell(request: Any, context: Any) -> message_pb2.GetConversationsResp:
        asked.append((request.user_id, request.before_id, request.limit))
        found = [
            message_pb2.Conversation(peer_id=2, last_message=last, unread_count=3),
            message_pb2.Conversation(group_id="g", last_message=last),
        ]
        return message_pb2.GetConversationsResp(list=found, has_more=True)

    async with serving(address, message={"GetConversations": tell}), pooling(address) as pool:
        found, more = await ArchiveClient(pool).conversations(1, 9, 20)
    assert [(each.peer_id, each.group_id, each.unread_count) for each in found] == [
        (2, UNSET, 3),
        (UNSET, "g", 0),
    ]
    assert (found[0].last_message.msg_id, more, asked) == ("m7", True, [(1, 9, 20)])


@pytest.mark.gen_test
async def test_from_an_older_server_there_are_no_conversations(address: str) -> None:
    with capture_logs() as logs:
        async with serving(address), pooling(address) as pool:
            archive = ArchiveClient(pool)
            for _ in range(2):
                assert await archive.conversations(1, 0, 20) == ([], False)
    told = [line for line in logs if line["event"] == "method_unsupported"]
    assert [line["method"] for line in told] == ["GetConversations"]
    assert [line for line in logs if line["log_level"] not in ("debug", "info")] == []


@pytest.mark.gen_test
async def test_conversations_fail_as_every_call_does(address: str) -> None:
    wrong = {"GetConversations": failing(StatusCode.INTERNAL)}
    async with serving(address, message=wrong), pooling(address) as pool:
        with pytest.raises(Unavailable):
            await ArchiveClient(pool).conversations(1, 0, 20)
