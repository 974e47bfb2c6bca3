"""The RPCs of the Group service by which a user is asked into a group, or asks to join it."""
# ruff: noqa: N802 - gRPC methods bear the names of the RPCs.

from typing import Any

from sqlalchemy import Row, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from skyeim_ws.contract.pb import group_pb2
from skyeim_ws.services import notices
from skyeim_ws.services.checks import (
    MESSAGE_LENGTH,
    check_action,
    check_text,
    check_users,
    insert_row,
    lock_pending,
    page_for,
    page_of,
)
from skyeim_ws.services.db import Database
from skyeim_ws.services.errors import already_exists, denied, not_found
from skyeim_ws.services.events import Events
from skyeim_ws.services.members import (
    add_members,
    find_group,
    find_member,
    lock_group,
    require_member,
    require_rank,
)
from skyeim_ws.services.outbox import Push
from skyeim_ws.services.tables import (
    ACCEPTED,
    ACTIVE,
    ADMIN,
    PENDING,
    group_invitations,
    group_join_requests,
    group_members,
    groups,
    unix_now,
)


class InvitationRpcs:
    """The RPCs of `group.Group` about invitations and join requests; raises RefusedError."""

    _database: Database
    _events: Events

    async def SendGroupInvitation(
        self, request: group_pb2.SendGroupInvitationReq, context: object
    ) -> group_pb2.SendGroupInvitationResp:
        """Ask a user into a group, as any member may; the same pending one returns its id."""
        group_id, inviter, invitee = request.group_id, request.inviter_id, request.invitee_id
        check_users(inviter, invitee)
        check_text("message", request.message, MESSAGE_LENGTH)
        key = {"group_id": group_id, "inviter_id": inviter, "invitee_id": invitee}
        async with self._events.changing() as connection:
            group = await lock_group(connection, group_id)
            await require_member(connection, group_id, inviter)
            await _refuse_member(connection, group_id, invitee)
            pending_id = await _pending_id(connection, group_invitations, key)
            now = unix_now()
            invitation_id = pending_id or await insert_row(
                connection, group_invitations, **key, message=request.message, created_at=now
            )
            if pending_id is None:
                data = notices.asked(
                    invitation_id,
                    "invitationId",
                    now,
                    groupId=group_id,
                    groupName=group.name,
                    inviterId=inviter,
                    message=request.message,
                )
                await self._events.note(
                    connection, notices.to_user(invitee, "group_invitation", data)
                )
        return group_pb2.SendGroupInvitationResp(invitation_id=invitation_id)

    async def HandleGroupInvitation(
        self, request: group_pb2.HandleGroupInvitationReq, context: object
    ) -> group_pb2.HandleGroupInvitationResp:
        """Accept or refuse an invitation, once, as the user whom it asks."""
        status, user_id = check_action(request.action), request.user_id
        group_id = await self._group_of(group_invitations, request.invitation_id)
        async with self._events.changing() as connection:
            group = await lock_group(connection, group_id)
            asked = await lock_pending(connection, group_invitations, request.invitation_id)
            if asked.invitee_id != user_id:
                raise denied("not_receiver", "only the invited user may answer an invitation")
            await _answer(connection, group_invitations, asked.id, status=status)
            joined = status == ACCEPTED and await _admit(connection, group, user_id)
            data = notices.answered(
                asked.id, "invitationId", status, groupId=group_id, inviteeId=user_id
            )
            pushes = [notices.to_user(asked.inviter_id, "group_invitation_handled", data)]
            await self._note_answer(
                connection, group_id, pushes, user_id if joined else 0, operator=user_id
            )
        return group_pb2.HandleGroupInvitationResp()

    async def SendJoinRequest(
        self, request: group_pb2.SendJoinRequestReq, context: object
    ) -> group_pb2.SendJoinRequestResp:
        """Ask to join a group; the same pending request returns its id."""
        group_id, user_id = request.group_id, request.user_id
        check_users(user_id)
        check_text("message", request.message, MESSAGE_LENGTH)
        key = {"group_id": group_id, "user_id": user_id}
        async with self._events.changing() as connection:
            await lock_group(connection, group_id)
            await _refuse_member(connection, group_id, user_id)
            pending_id = await _pending_id(connection, group_join_requests, key)
            now = unix_now()
            request_id = pending_id or await insert_row(
                connection, group_join_requests, **key, message=request.message, created_at=now
            )
            if pending_id is None:
                ranked = await connection.scalars(
                    select(group_members.c.user_id).where(
                        group_members.c.group_id == group_id, group_members.c.role <= ADMIN
                    )
                )
                data = notices.asked(
                    request_id,
                    "requestId",
                    now,
                    groupId=group_id,
                    userId=user_id,
                    message=request.message,
                )
                push = notices.to_users(ranked.all(), "group_join_request", data)
                await self._events.note(connection, push)
        return group_pb2.SendJoinRequestResp(request_id=request_id)

    async def HandleJoinRequest(
        self, request: group_pb2.HandleJoinRequestReq, context: object
    ) -> group_pb2.HandleJoinRequestResp:
        """Accept or refuse a join request, once, as owner or admin."""
        status, operator = check_action(request.action), request.operator_id
        group_id = await self._group_of(group_join_requests, request.request_id)
        async with self._events.changing() as connection:
            group = await lock_group(connection, group_id)
            await require_rank(connection, group_id, operator, ADMIN)
            asked = await lock_pending(connection, group_join_requests, request.request_id)
            await _answer(
                connection, group_join_requests, asked.id, status=status, handler_id=operator
            )
            joined = status == ACCEPTED and await _admit(connection, group, asked.user_id)
            data = notices.answered(asked.id, "requestId", status, groupId=group_id)
            pushes = [notices.to_user(asked.user_id, "group_join_request_handled", data)]
            await self._note_answer(
                connection, group_id, pushes, asked.user_id if joined else 0, operator=operator
            )
        return group_pb2.HandleJoinRequestResp(success=True)

    async def GetReceivedInvitations(
        self, request: group_pb2.GetReceivedInvitationsReq, context: object
    ) -> group_pb2.GetReceivedInvitationsResp:
        """List the invitations to the user, newest first."""
        where = group_invitations.c.invitee_id == request.user_id
        rows, total = await page_for(self._database, group_invitations, where, request)
        return group_pb2.GetReceivedInvitationsResp(list=map(_invitation, rows), total=total)

    async def GetSentInvitations(
        self, request: group_pb2.GetSentInvitationsReq, context: object
    ) -> group_pb2.GetSentInvitationsResp:
        """List the invitations from the user, newest first."""
        where = group_invitations.c.inviter_id == request.user_id
        rows, total = await page_for(self._database, group_invitations, where, request)
        return group_pb2.GetSentInvitationsResp(list=map(_invitation, rows), total=total)

    async def GetGroupJoinRequests(
        self, request: group_pb2.GetGroupJoinRequestsReq, context: object
    ) -> group_pb2.GetGroupJoinRequestsResp:
        """List the requests to join a group, newest first, to its owner and admins."""
        where = group_join_requests.c.group_id == request.group_id
        async with self._database.read() as connection:
            await find_group(connection, request.group_id)
            await require_rank(connection, request.group_id, request.operator_id, ADMIN)
            rows, total = await connection.run_sync(
                page_of, group_join_requests, where, request.page, request.page_size
            )
        return group_pb2.GetGroupJoinRequestsResp(list=map(_join_request, rows), total=total)

    async def GetSentJoinRequests(
        self, request: group_pb2.GetSentJoinRequestsReq, context: object
    ) -> group_pb2.GetSentJoinRequestsResp:
        """List the requests of the user to join groups, newest first."""
        where = group_join_requests.c.user_id == request.user_id
        rows, total = await page_for(self._database, group_join_requests, where, request)
        return group_pb2.GetSentJoinRequestsResp(list=map(_join_request, rows), total=total)

    async def GetAllManagedGroupJoinRequests(
        self, request: group_pb2.GetAllManagedGroupJoinRequestsReq, context: object
    ) -> group_pb2.GetAllManagedGroupJoinRequestsResp:
        """List the requests to join any group of which the user is owner or admin, newest first."""
        managed = (
            select(group_members.c.group_id)
            .join(groups, groups.c.group_id == group_members.c.group_id)
            .where(
                group_members.c.user_id == request.user_id,
                group_members.c.role <= ADMIN,
                groups.c.status == ACTIVE,
            )
        )
        where = group_join_requests.c.group_id.in_(managed)
        rows, total = await page_for(self._database, group_join_requests, where, request)
        return group_pb2.GetAllManagedGroupJoinRequestsResp(
            list=map(_join_request, rows), total=total
        )

    async def _group_of(self, table: Table, request_id: int) -> str:
        """Return the group of a request, so that the group is locked before the request is."""
        async with self._database.read() as connection:
            group_id: str | None = await connection.scalar(
                select(table.c.group_id).where(table.c.id == request_id)
            )
        if group_id is None:
            raise not_found("request_not_found", "there is no such request")
        return group_id

    async def _note_answer(
        self,
        connection: AsyncConnection,
        group_id: str,
        pushes: list[Push],
        joined: int,
        *,
        operator: int,
    ) -> None:
        if not joined:
            await self._events.note(connection, *pushes)
            return
        data = notices.about_member(group_id, operator, joined)
        await self._events.note(
            connection,
            *pushes,
            notices.to_group(group_id, "joinGroup", data, but=[joined]),
            notices.to_user(joined, "joinGroup", data),
            members_of=group_id,
        )


async def _refuse_member(connection: AsyncConnection, group_id: str, user_id: int) -> None:
    if await find_member(connection, group_id, user_id) is not None:
        raise already_exists("already_member", "this user is a member of the group already")


async def _pending_id(
    connection: AsyncConnection, table: Table, key: dict[str, object]
) -> int | None:
    found: int | None = await connection.scalar(
        select(table.c.id).filter_by(**key, status=PENDING).limit(1)
    )
    return found


async def _answer(
    connection: AsyncConnection, table: Table, request_id: int, **values: int
) -> None:
    await connection.execute(update(table).where(table.c.id == request_id).values(**values))


async def _admit(connection: AsyncConnection, group: Row[Any], user_id: int) -> bool:
    """Add a user to a locked group; say whether he is new there."""
    if await find_member(connection, group.group_id, user_id) is not None:
        return False
    if not await add_members(connection, group, [user_id]):
        raise denied("group_full", "the group has no room for another member")
    return True


def _invitation(row: Row[Any]) -> group_pb2.GroupInvitationInfo:
    return group_pb2.GroupInvitationInfo(
        id=row.id,
        group_id=row.group_id,
        inviter_id=row.inviter_id,
        invitee_id=row.invitee_id,
        message=row.message,
        status=row.status,
        created_at=row.created_at,
    )


def _join_request(row: Row[Any]) -> group_pb2.JoinRequestInfo:
    return group_pb2.JoinRequestInfo(
        id=row.id,
        group_id=row.group_id,
        user_id=row.user_id,
        message=row.message,
        status=row.status,
        handler_id=row.handler_id,
        created_at=row.created_at,
    )
