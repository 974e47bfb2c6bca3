"""The Message, Friend and Group services of a Go deployment, as a gateway meets them.

A gRPC server that stores in memory and answers as those do, their oddities included: each stands
where a comment says what it is. `Go` holds what a test sets up and looks at.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn, cast

from grpc import StatusCode
from redis.asyncio import Redis

from skyeim_ws.contract.pb import friend_pb2, group_pb2
from skyeim_ws.contract.pb import message_pb2 as pb
from tests.rpc.servers import Handler, serving

PRIVATE, GROUP = 1, 2
UNREAD, READ = 0, 1
OWNER, ADMIN, MEMBER = 1, 2, 3
NORMAL = 1
FRIENDS_PAGE = 100
MESSAGES_PAGE = 20
CREATED_AT = 1_700_000_000


class Go:
    """What the services have stored, and the trouble that they are to make.

    `shed` is how many calls of a method are still refused for load; with `redis_away` what needs
    the services' own Redis fails, after the insert where they insert first. `calls` counts the
    calls of each method.
    """

    def __init__(self, redis: Redis) -> None:
        self.messages: list[pb.MessageInfo] = []
        self.friends: dict[int, dict[int, int]] = {}
        self.groups: dict[str, dict[int, group_pb2.MemberInfo]] = {}
        self.shed: Counter[str] = Counter()
        self.redis_away = False
        self.calls: Counter[str] = Counter()
        self._redis = redis
        self._failed_first: set[str] = set()

    def befriend(self, user_id: int, others: Iterable[int]) -> None:
        """Make a user the friend of others, and them of the user."""
        for other in others:
            self.friends.setdefault(user_id, {})[other] = NORMAL
            self.friends.setdefault(other, {})[user_id] = NORMAL

    def add_group(self, group_id: str, *user_ids: int) -> None:
        """Make a group; the first user owns it."""
        self.groups[group_id] = {}
        for user_id in user_ids:
            self._seat(group_id, user_id, MEMBER if self.groups[group_id] else OWNER)

    def add_unread(self, from_user_id: int, to_user_id: int, count: int) -> None:
        """Store private messages as if they had been sent some time ago."""
        for number in range(count):
            self._insert(
                msg_id=f"old-{from_user_id}-{number}",
                from_user_id=from_user_id,
                to_user_id=to_user_id,
                chat_type=PRIVATE,
                content=f"old {number}",
                content_type=1,
            )

    def stored(self, msg_id: str) -> list[pb.MessageInfo]:
        """Return what is stored under a msgId: at most one."""
        return [message for message in self.messages if message.msg_id == msg_id]

    @property
    def message_methods(self) -> dict[str, Handler]:
        """No SendBatch, no GetMessagesSince: these servers lack them."""
        return self._methods(
            SendMessage=self._send,
            SendGroupMessage=self._send_group,
            GetMessageList=self._history,
            GetGroupMessageList=self._group_history,
            MarkAsRead=self._mark_as_read,
            GetUnreadCount=self._unread_count,
            GetUnreadMessages=self._unread,
            GetGroupMessagesBySeq=self._by_seq,
            SearchMessage=self._search,
            GetAtMeMessages=self._at_me,
        )

    @property
    def friend_methods(self) -> dict[str, Handler]:
        return self._methods(GetFriendList=self._friend_list, IsFriend=self._is_friend)

    @property
    def group_methods(self) -> dict[str, Handler]:
        return self._methods(
            CheckMembership=self._check_membership,
            GetMemberList=self._member_list,
            GetJoinedGroups=self._joined_groups,
            GetUserGroupList=self._user_groups,
            GetGroupInfo=self._group_info,
            InviteMembers=self._invite,
            KickMember=self._kick,
            UpdateGroupReadSeq=self._read_seq,
        )

    def _methods(self, **handlers: Handler) -> dict[str, Handler]:
        def watched(name: str, handler: Handler) -> Handler:
            async def call(request: Any, context: Any) -> Any:
                self.calls[name] += 1
                if self.shed[name]:
                    self.shed[name] -= 1
                    await context.abort(
                        StatusCode.RESOURCE_EXHAUSTED, "concurrent connections over limit"
                    )
                return await handler(request, context)

            return call

        return {name: watched(name, handler) for name, handler in handlers.items()}

    def _insert(self, **fields: Any) -> pb.MessageInfo:
        message = pb.MessageInfo(
            id=len(self.messages) + 1, status=UNREAD, created_at=CREATED_AT, **fields
        )
        self.messages.append(message)
        return message

    async def _send(self, request: pb.SendMessageReq, context: Any) -> pb.SendMessageResp:
        # Neither friendship nor blocks are looked at.
        if self.stored(request.msg_id):
            # Whoever stored it: a bare error of the database.
            await _fail(context, StatusCode.UNKNOWN, "Error 1062: Duplicate entry for key 'msg_id'")
        message = self._insert(
            msg_id=request.msg_id,
            from_user_id=request.from_user_id,
            to_user_id=request.to_user_id,
            chat_type=PRIVATE,
            content=request.content,
            content_type=request.content_type,
        )
        if self.redis_away:
            # The row is read back through a cache, so it stands and the caller hears of a failure.
            await _fail(context, StatusCode.UNKNOWN, "dial tcp: connection refused")
        return pb.SendMessageResp(
            id=message.id, msg_id=message.msg_id, created_at=message.created_at
        )

    async def _send_group(
        self, request: pb.SendGroupMessageReq, context: Any
    ) -> pb.SendGroupMessageResp:
        seat = self.groups.get(request.group_id, {}).get(request.from_user_id)
        if seat is None:
            await _fail(context, StatusCode.PERMISSION_DENIED, "您不是群成员")
        if seat.mute == 1:
            await _fail(context, StatusCode.PERMISSION_DENIED, "您已被禁言")
        if -1 in request.at_user_ids and seat.role == MEMBER:
            await _fail(context, StatusCode.PERMISSION_DENIED, "只有群主和管理员可以@全体成员")
        key = f"group:seq:{request.group_id}"
        if request.group_id not in self._failed_first and not await self._redis.exists(key):
            # On a Redis without the counter the first message of a group fails, once.
            self._failed_first.add(request.group_id)
            await _fail(context, StatusCode.INTERNAL, "系统错误")
        if self.redis_away:
            await _fail(context, StatusCode.INTERNAL, "系统错误")
        seq = await self._redis.incr(key)
        if self.stored(request.msg_id):
            await _fail(context, StatusCode.INTERNAL, "发送消息失败")
        message = self._insert(
            msg_id=request.msg_id,
            from_user_id=request.from_user_id,
            group_id=request.group_id,
            chat_type=GROUP,
            seq=seq,
            content=request.content,
            content_type=request.content_type or 1,
            at_user_ids=request.at_user_ids,
        )
        return pb.SendGroupMessageResp(
            id=message.id, msg_id=message.msg_id, created_at=message.created_at, seq=message.seq
        )

    async def _history(self, request: pb.GetMessageListReq, context: Any) -> pb.GetMessageListResp:
        pair = {request.user_id, request.peer_id}
        between = [
            message
            for message in self.messages
            if message.chat_type == PRIVATE and {message.from_user_id, message.to_user_id} == pair
        ]
        page, has_more = _newest(between, request.last_msg_id, request.limit)
        return pb.GetMessageListResp(list=page, has_more=has_more)

    async def _group_history(
        self, request: pb.GetGroupMessageListReq, context: Any
    ) -> pb.GetGroupMessageListResp:
        if request.user_id and request.user_id not in self.groups.get(request.group_id, {}):
            await _fail(context, StatusCode.PERMISSION_DENIED, "您不是群成员")
        page, has_more = _newest(
            self._of_group(request.group_id), request.last_msg_id, request.limit
        )
        return pb.GetGroupMessageListResp(list=page, has_more=has_more)

    async def _mark_as_read(self, request: pb.MarkAsReadReq, context: Any) -> pb.MarkAsReadResp:
        found = [
            message
            for message in self._unread_of(request.user_id, request.peer_id)
            if not request.msg_ids or message.msg_id in request.msg_ids
        ]
        for message in found:
            message.status = READ
        return pb.MarkAsReadResp(count=len(found))

    async def _unread_count(
        self, request: pb.GetUnreadCountReq, context: Any
    ) -> pb.GetUnreadCountResp:
        return pb.GetUnreadCountResp(count=len(self._unread_of(request.user_id, request.peer_id)))

    async def _unread(
        self, request: pb.GetUnreadMessagesReq, context: Any
    ) -> pb.GetUnreadMessagesResp:
        return pb.GetUnreadMessagesResp(list=self._unread_of(request.user_id, request.peer_id))

    async def _by_seq(
        self, request: pb.GetGroupMessagesBySeqReq, context: Any
    ) -> pb.GetGroupMessagesBySeqResp:
        # The user is not looked at: whoever asks gets the messages.
        newer = [each for each in self._of_group(request.group_id) if each.seq > request.seq]
        return pb.GetGroupMessagesBySeqResp(list=newer[:200])

    async def _search(self, request: pb.SearchMessageReq, context: Any) -> pb.SearchMessageResp:
        mine = (
            message
            for message in reversed(self.messages)
            if request.user_id in (message.from_user_id, message.to_user_id)
        )
        return pb.SearchMessageResp(list=[each for each in mine if request.keyword in each.content])

    async def _at_me(self, request: pb.GetAtMeMessagesReq, context: Any) -> pb.GetAtMeMessagesResp:
        found = [
            message
            for message in self.messages
            if {request.user_id, -1}.intersection(message.at_user_ids)
            and message.group_id == (request.group_id or message.group_id)
        ]
        page, has_more = _newest(found, request.last_msg_id, request.limit)
        return pb.GetAtMeMessagesResp(list=page, has_more=has_more)

    async def _friend_list(
        self, request: friend_pb2.GetFriendListReq, context: Any
    ) -> friend_pb2.GetFriendListResp:
        normal = sorted(
            friend
            for friend, status in self.friends.get(request.user_id, {}).items()
            if status == NORMAL
        )
        size = min(request.page_size or MESSAGES_PAGE, FRIENDS_PAGE)
        start = (max(request.page, 1) - 1) * size
        page = [
            friend_pb2.FriendInfo(id=friend, friend_id=friend, status=NORMAL, created_at=CREATED_AT)
            for friend in normal[start : start + size]
        ]
        return friend_pb2.GetFriendListResp(list=page, total=len(normal))

    async def _is_friend(
        self, request: friend_pb2.IsFriendReq, context: Any
    ) -> friend_pb2.IsFriendResp:
        status = self.friends.get(request.user_id, {}).get(request.friend_id, 0)
        return friend_pb2.IsFriendResp(is_friend=status == NORMAL, status=status)

    async def _check_membership(
        self, request: group_pb2.CheckMembershipReq, context: Any
    ) -> group_pb2.CheckMembershipResp:
        seat = self.groups.get(request.group_id, {}).get(request.user_id)
        return group_pb2.CheckMembershipResp(is_member=seat is not None, member=seat)

    async def _member_list(
        self, request: group_pb2.GetMemberListReq, context: Any
    ) -> group_pb2.GetMemberListResp:
        # Pages are not looked at: all members come at once.
        seats = list(self.groups.get(request.group_id, {}).values())
        return group_pb2.GetMemberListResp(members=seats, total=len(seats))

    async def _joined_groups(
        self, request: group_pb2.GetJoinedGroupsReq, context: Any
    ) -> group_pb2.GetJoinedGroupsResp:
        seats = [
            group[request.user_id] for group in self.groups.values() if request.user_id in group
        ]
        return group_pb2.GetJoinedGroupsResp(list=seats)

    async def _user_groups(
        self, request: group_pb2.GetUserGroupListReq, context: Any
    ) -> group_pb2.GetUserGroupListResp:
        mine = [
            self._info(group_id)
            for group_id, seats in self.groups.items()
            if request.user_id in seats
        ]
        return group_pb2.GetUserGroupListResp(groups=mine, total=len(mine))

    async def _group_info(
        self, request: group_pb2.GetGroupInfoReq, context: Any
    ) -> group_pb2.GetGroupInfoResp:
        if request.group_id not in self.groups:
            await _fail(context, StatusCode.UNKNOWN, "群组不存在")
        return group_pb2.GetGroupInfoResp(group=self._info(request.group_id))

    async def _invite(
        self, request: group_pb2.InviteMembersReq, context: Any
    ) -> group_pb2.InviteMembersResp:
        new = [each for each in request.member_ids if each not in self.groups[request.group_id]]
        for user_id in new:
            self._seat(request.group_id, user_id, MEMBER)
        if new:
            # Only the new ones are added, also where the set is missing and holds nobody else then.
            await self._redis.sadd(f"im:group:members:{request.group_id}", *new)
        failed = [each for each in request.member_ids if each not in new]
        return group_pb2.InviteMembersResp(success_count=len(new), failed_ids=failed)

    async def _kick(
        self, request: group_pb2.KickMemberReq, context: Any
    ) -> group_pb2.KickMemberResp:
        del self.groups[request.group_id][request.member_id]
        await self._redis.srem(f"im:group:members:{request.group_id}", request.member_id)
        return group_pb2.KickMemberResp()  # `success` stays unset

    async def _read_seq(
        self, request: group_pb2.UpdateGroupReadSeqReq, context: Any
    ) -> group_pb2.UpdateGroupReadSeqResp:
        self.groups[request.group_id][request.user_id].read_seq = request.read_seq
        return group_pb2.UpdateGroupReadSeqResp(success=True)

    def _seat(self, group_id: str, user_id: int, role: int) -> None:
        self.groups[group_id][user_id] = group_pb2.MemberInfo(
            id=user_id, group_id=group_id, user_id=user_id, role=role, joined_at=CREATED_AT
        )

    def _info(self, group_id: str) -> group_pb2.GroupInfo:
        seats = self.groups[group_id]
        owner = next(seat.user_id for seat in seats.values() if seat.role == OWNER)
        return group_pb2.GroupInfo(
            group_id=group_id,
            name=group_id,
            owner_id=owner,
            max_members=200,
            member_count=len(seats),
            status=1,
            created_at=CREATED_AT,
            updated_at=CREATED_AT,
        )

    def _of_group(self, group_id: str) -> list[pb.MessageInfo]:
        return [message for message in self.messages if message.group_id == group_id]

    def _unread_of(self, user_id: int, peer_id: int) -> list[pb.MessageInfo]:
        return [
            message
            for message in self.messages
            if message.chat_type == PRIVATE
            and (message.to_user_id, message.status) == (user_id, UNREAD)
            and peer_id in (0, message.from_user_id)
        ]


def _newest(
    messages: Sequence[pb.MessageInfo], last_msg_id: int, limit: int
) -> tuple[list[pb.MessageInfo], bool]:
    """Return a page, newest first, and whether there are more."""
    # A limit above 100 is not lowered to 100 but taken for none.
    size = limit if 0 < limit <= 100 else MESSAGES_PAGE
    older = [each for each in messages if not last_msg_id or each.id < last_msg_id]
    return older[::-1][:size], len(older) > size


async def _fail(context: Any, code: StatusCode, message: str) -> NoReturn:
    await context.abort(code, message)
    raise AssertionError("abort does not return")


@asynccontextmanager
async def go_services(redis: Redis, address: str = "127.0.0.1:0") -> AsyncIterator[tuple[Go, str]]:
    """Serve all three; yields what they hold and the address."""
    go = Go(redis)
    methods: Mapping[str, Mapping[str, Handler]] = {
        "message": go.message_methods,
        "friend": go.friend_methods,
        "group": go.group_methods,
    }
    async with serving(address, **cast(Any, methods)) as served:
        yield go, served
