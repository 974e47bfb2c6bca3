"""The Friend service: friendships, requests, remarks and the blacklist over SQL.

A friendship is two rows, one for each side; blocking changes the row of the side that blocks.
"""
# ruff: noqa: N802 - gRPC methods bear the names of the RPCs.

from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import friend_pb2, friend_pb2_grpc
from skyeim_ws.services import notices
from skyeim_ws.services.checks import (
    MESSAGE_LENGTH,
    check_action,
    check_text,
    check_users,
    insert_row,
    lock_pending,
    page_for,
)
from skyeim_ws.services.db import Database
from skyeim_ws.services.errors import already_exists, denied, invalid, not_found
from skyeim_ws.services.events import Events
from skyeim_ws.services.lists import check_asked, lists_of
from skyeim_ws.services.outbox import Push
from skyeim_ws.services.tables import (
    ACCEPTED,
    BLOCKED,
    NORMAL,
    PENDING,
    REFUSED,
    friend_requests,
    friends,
    unix_now,
)

REMARK_LENGTH = 64


class FriendService(friend_pb2_grpc.FriendServicer):
    """Serves `friend.Friend`; raises RefusedError for the interceptor to answer."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    async def AddFriendRequest(
        self, request: friend_pb2.AddFriendRequestReq, context: object
    ) -> friend_pb2.AddFriendRequestResp:
        """Ask for a friendship; if the other has asked already, make it."""
        sender, receiver = request.from_user_id, request.to_user_id
        check_users(sender, receiver)
        check_text("message", request.message, MESSAGE_LENGTH)
        if sender == receiver:
            raise invalid("a user cannot be a friend of himself")
        async with self._events.changing() as connection:
            if await _are_friends(connection, sender, receiver):
                raise already_exists("already_friends", "you are friends already")
            asked_before = await _pending_id(connection, sender, receiver)
            now = unix_now()
            request_id = asked_before or await _insert_request(connection, request, now)
            # Inserted first and looked for second: of two requests that cross on a database with
            # several writers, at least one then waits for the other and sees it.
            answered_id = await _pending_id(connection, receiver, sender)
            if answered_id:
                await _befriend(connection, sender, receiver)
                await self._events.note(
                    connection,
                    _handled(answered_id, receiver, sender, ACCEPTED),
                    _handled(request_id, sender, receiver, ACCEPTED),
                )
            elif not asked_before:
                data = notices.asked(
                    request_id,
                    "requestId",
                    now,
                    fromUserId=sender,
                    toUserId=receiver,
                    message=request.message,
                )
                await self._events.note(
                    connection, notices.to_user(receiver, "friend_request", data)
                )
        return friend_pb2.AddFriendRequestResp(request_id=request_id)

    async def HandleFriendRequest(
        self, request: friend_pb2.HandleFriendRequestReq, context: object
    ) -> friend_pb2.HandleFriendRequestResp:
        """Accept or refuse a request, once, as its receiver."""
        status = check_action(request.action)
        async with self._events.changing() as connection:
            asked = await lock_pending(connection, friend_requests, request.request_id)
            if asked.to_user_id != request.user_id:
                raise denied("not_receiver", "only the receiver may handle a request")
            if status == ACCEPTED:
                await _befriend(connection, asked.from_user_id, asked.to_user_id)
            else:
                await connection.execute(
                    update(friend_requests)
                    .where(friend_requests.c.id == asked.id)
                    .values(status=REFUSED)
                )
            told = _handled(asked.id, asked.from_user_id, asked.to_user_id, status)
            await self._events.note(connection, told)
        return friend_pb2.HandleFriendRequestResp()

    async def GetFriendRequestList(
        self, request: friend_pb2.GetFriendRequestListReq, context: object
    ) -> friend_pb2.GetFriendRequestListResp:
        """List the requests to the user, newest first."""
        where = friend_requests.c.to_user_id == request.user_id
        rows, total = await page_for(self._database, friend_requests, where, request)
        return friend_pb2.GetFriendRequestListResp(list=map(_request_info, rows), total=total)

    async def GetSentRequestList(
        self, request: friend_pb2.GetSentRequestListReq, context: object
    ) -> friend_pb2.GetSentRequestListResp:
        """List the requests from the user, newest first."""
        where = friend_requests.c.from_user_id == request.user_id
        rows, total = await page_for(self._database, friend_requests, where, request)
        return friend_pb2.GetSentRequestListResp(list=map(_request_info, rows), total=total)

    async def GetFriendList(
        self, request: friend_pb2.GetFriendListReq, context: object
    ) -> friend_pb2.GetFriendListResp:
        """List the user's friends without the blocked ones, newest first."""
        mine = and_(friends.c.user_id == request.user_id, friends.c.status == NORMAL)
        rows, total = await page_for(self._database, friends, mine, request)
        return friend_pb2.GetFriendListResp(list=map(_friend_info, rows), total=total)

    async def GetFriendLists(
        self, request: friend_pb2.GetFriendListsReq, context: object
    ) -> friend_pb2.GetFriendListsResp:
        """List the friends of many users, without those whom they have blocked."""
        check_asked(request.user_ids)
        found = await self._database.run_read(
            lambda connection: lists_of(
                connection,
                select(friends.c.user_id, friends.c.friend_id),
                friends.c.user_id,
                request.user_ids,
                friends.c.status == NORMAL,
            )
        )
        return friend_pb2.GetFriendListsResp(
            lists=[friend_pb2.FriendIds(user_id=u, friend_ids=ids) for u, ids in found.items()]
        )

    async def GetBlacklist(
        self, request: friend_pb2.GetBlacklistReq, context: object
    ) -> friend_pb2.GetBlacklistResp:
        """List the friends whom the user has blocked, newest first."""
        mine = and_(friends.c.user_id == request.user_id, friends.c.status == BLOCKED)
        rows, total = await page_for(self._database, friends, mine, request)
        return friend_pb2.GetBlacklistResp(list=map(_friend_info, rows), total=total)

    async def DeleteFriend(
        self, request: friend_pb2.DeleteFriendReq, context: object
    ) -> friend_pb2.DeleteFriendResp:
        """End a friendship, for both sides."""
        check_users(request.user_id, request.friend_id)
        async with self._database.write() as connection:
            deleted = await connection.execute(
                delete(friends).where(_pair(request.user_id, request.friend_id))
            )
            if not deleted.rowcount:
                raise _no_friend()
        return friend_pb2.DeleteFriendResp()

    async def UpdateFriendRemark(
        self, request: friend_pb2.UpdateFriendRemarkReq, context: object
    ) -> friend_pb2.UpdateFriendRemarkResp:
        """Note a name for a friend; an empty one removes it."""
        check_text("remark", request.remark, REMARK_LENGTH)
        await self._update_own_row(request.user_id, request.friend_id, remark=request.remark)
        return friend_pb2.UpdateFriendRemarkResp()

    async def SetBlacklist(
        self, request: friend_pb2.SetBlacklistReq, context: object
    ) -> friend_pb2.SetBlacklistResp:
        """Block a friend, or unblock one; others cannot write anyway."""
        status = BLOCKED if request.is_black else NORMAL
        await self._update_own_row(request.user_id, request.friend_id, status=status)
        return friend_pb2.SetBlacklistResp()

    async def IsFriend(
        self, request: friend_pb2.IsFriendReq, context: object
    ) -> friend_pb2.IsFriendResp:
        """Say how the user stands to the other, from the user's own row."""
        check_users(request.user_id, request.friend_id)
        own = select(friends.c.status).where(_row(request.user_id, request.friend_id))
        # On one thread, as everything that each login and each refusal asks for.
        status = await self._database.run_read(lambda connection: connection.scalar(own))
        return friend_pb2.IsFriendResp(is_friend=status == NORMAL, status=status or 0)

    async def _update_own_row(self, user_id: int, friend_id: int, **values: object) -> None:
        check_users(user_id, friend_id)
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(friends).where(_row(user_id, friend_id)).values(**values)
            )
            if not changed.rowcount:
                raise _no_friend()


def _row(user_id: int, friend_id: int) -> ColumnElement[bool]:
    return and_(friends.c.user_id == user_id, friends.c.friend_id == friend_id)


def _pair(one: int, other: int) -> ColumnElement[bool]:
    return or_(_row(one, other), _row(other, one))


async def _are_friends(connection: AsyncConnection, one: int, other: int) -> bool:
    rows = await connection.scalar(
        select(func.count()).select_from(friends).where(_pair(one, other))
    )
    return rows == 2


async def _pending_id(connection: AsyncConnection, sender: int, receiver: int) -> int | None:
    found: int | None = await connection.scalar(
        select(friend_requests.c.id)
        .where(
            friend_requests.c.from_user_id == sender,
            friend_requests.c.to_user_id == receiver,
            friend_requests.c.status == PENDING,
        )
        .limit(1)
        .with_for_update()
    )
    return found


async def _insert_request(
    connection: AsyncConnection, request: friend_pb2.AddFriendRequestReq, now: int
) -> int:
    return await insert_row(
        connection,
        friend_requests,
        from_user_id=request.from_user_id,
        to_user_id=request.to_user_id,
        message=request.message,
        created_at=now,
    )


async def _befriend(connection: AsyncConnection, one: int, other: int) -> None:
    """Make two users friends, whatever rows they had, and answer all that was asked."""
    for sender, receiver in ((one, other), (other, one)):
        await connection.execute(
            update(friend_requests)
            .where(
                friend_requests.c.from_user_id == sender,
                friend_requests.c.to_user_id == receiver,
                friend_requests.c.status == PENDING,
            )
            .values(status=ACCEPTED)
        )
    await connection.execute(delete(friends).where(_pair(one, other)))
    await connection.execute(
        insert(friends),
        [{"user_id": one, "friend_id": other}, {"user_id": other, "friend_id": one}],
    )


def _handled(request_id: int, sender: int, receiver: int, status: int) -> Push:
    data = notices.answered(request_id, "requestId", status, fromUserId=sender, toUserId=receiver)
    return notices.to_user(sender, "friend_request_handled", data)


def _no_friend() -> Exception:
    return not_found(Reason.NOT_FRIEND, "you are not friends with this user")


def _request_info(row: Row[Any]) -> friend_pb2.FriendRequestInfo:
    return friend_pb2.FriendRequestInfo(
        id=row.id,
        from_user_id=row.from_user_id,
        to_user_id=row.to_user_id,
        message=row.message,
        status=row.status,
        created_at=row.created_at,
    )


def _friend_info(row: Row[Any]) -> friend_pb2.FriendInfo:
    return friend_pb2.FriendInfo(
        id=row.id,
        friend_id=row.friend_id,
        remark=row.remark,
        status=row.status,
        created_at=row.created_at,
    )
