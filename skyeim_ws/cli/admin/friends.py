"""The admin commands about friends: add, list, remove, block."""

from argparse import Namespace

import grpc

from skyeim_ws.cli.admin.calls import AdminError, call
from skyeim_ws.cli.admin.output import Answer, fields, local_time, table
from skyeim_ws.contract.pb import friend_pb2 as pb
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub

_ACCEPT = 1
_STATUS = {1: "normal", 2: "blocked"}
_ALL = 10_000
"""The size of a page: as much as the services put into one."""


async def add(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Make two users friends; that they are already is fine."""
    user, friend = arguments.user, arguments.friend
    already = await _are_friends(channel, user, friend)
    if not already:
        await _befriend(channel, user, friend)
    state = "already" if already else "now"
    return Answer(
        {"userId": user, "friendId": friend, "friends": True, "already": already},
        f"{user} and {friend} are {state} friends",
    )


async def list_friends(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Show a user's friends, those whom the user has blocked included."""
    user, friends = arguments.user, FriendStub(channel)
    normal = await call(
        friends.GetFriendList, pb.GetFriendListReq(user_id=user, page=1, page_size=_ALL)
    )
    blocked = await call(
        friends.GetBlacklist, pb.GetBlacklistReq(user_id=user, page=1, page_size=_ALL)
    )
    found = sorted([*normal.list, *blocked.list], key=lambda each: each.friend_id)
    rows = (
        (
            each.friend_id,
            _STATUS.get(each.status, each.status),
            local_time(each.created_at),
            each.remark,
        )
        for each in found
    )
    return Answer(
        {
            "userId": user,
            "friends": [fields(each) for each in found],
            "total": normal.total + blocked.total,
        },
        table(("FRIEND", "STATUS", "SINCE", "REMARK"), rows, empty=f"{user} has no friends"),
    )


async def remove(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """End a friendship, for both sides."""
    user, friend = arguments.user, arguments.friend
    request = pb.DeleteFriendReq(user_id=user, friend_id=friend)
    await call(FriendStub(channel).DeleteFriend, request)
    return Answer(
        {"userId": user, "friendId": friend, "friends": False},
        f"{user} and {friend} are no longer friends",
    )


async def block(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Block a friend in the name of a user, or undo that."""
    user, friend, blocked = arguments.user, arguments.friend, not arguments.undo
    request = pb.SetBlacklistReq(user_id=user, friend_id=friend, is_black=blocked)
    await call(FriendStub(channel).SetBlacklist, request)
    return Answer(
        {"userId": user, "friendId": friend, "blocked": blocked},
        f"{user} {'blocks' if blocked else 'no longer blocks'} {friend}",
    )


async def _are_friends(channel: grpc.aio.Channel, user: int, friend: int) -> bool:
    """Whether each has the other in his list, blocked or not."""
    friends = FriendStub(channel)
    mine = await call(friends.IsFriend, pb.IsFriendReq(user_id=user, friend_id=friend))
    theirs = await call(friends.IsFriend, pb.IsFriendReq(user_id=friend, friend_id=user))
    return mine.status != 0 and theirs.status != 0


async def _befriend(channel: grpc.aio.Channel, user: int, friend: int) -> None:
    friends = FriendStub(channel)
    asked = await call(
        friends.AddFriendRequest, pb.AddFriendRequestReq(from_user_id=user, to_user_id=friend)
    )
    accept = pb.HandleFriendRequestReq(user_id=friend, request_id=asked.request_id, action=_ACCEPT)
    try:
        await call(friends.HandleFriendRequest, accept)
    except AdminError:
        # Where the friend had asked before, the request was its own answer.
        if not await _are_friends(channel, user, friend):
            raise
