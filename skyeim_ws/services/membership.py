"""The RPCs of the Group service about members: invite, kick, quit, roles, mutes, read marks."""
# ruff: noqa: N802 - gRPC methods bear the names of the RPCs.

from typing import Any

from sqlalchemy import Row, select, update

from skyeim_ws.contract.pb import group_pb2
from skyeim_ws.services import history, notices
from skyeim_ws.services.checks import check_users, page_of
from skyeim_ws.services.db import Database
from skyeim_ws.services.errors import denied, invalid
from skyeim_ws.services.events import Events
from skyeim_ws.services.lists import check_asked, lists_of
from skyeim_ws.services.members import (
    add_members,
    find_group,
    lock_group,
    member_info,
    move_read_mark,
    remove_member,
    require_below,
    require_member,
    require_rank,
    require_reader,
    update_member,
)
from skyeim_ws.services.outbox import Push
from skyeim_ws.services.tables import ACTIVE, ADMIN, MEMBER, OWNER, group_members, groups


class MemberRpcs:
    """The RPCs of `group.Group` about members; raises RefusedError for the interceptor."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    async def InviteMembers(
        self, request: group_pb2.InviteMembersReq, context: object
    ) -> group_pb2.InviteMembersResp:
        """Add users at once, as any member may; names those who are in already or do not fit."""
        group_id, inviter = request.group_id, request.inviter_id
        async with self._events.changing() as connection:
            group = await lock_group(connection, group_id)
            await require_member(connection, group_id, inviter)
            added = await add_members(connection, group, request.member_ids)
            data = notices.invited(group_id, inviter, added)
            if added:
                await self._events.note(
                    connection,
                    notices.to_group(group_id, "inviteMember", data, but=added),
                    notices.to_users(added, "inviteMember", data),
                    members_of=group_id,
                )
        failed = dict.fromkeys(request.member_ids).keys() - set(added)
        return group_pb2.InviteMembersResp(success_count=len(added), failed_ids=sorted(failed))

    async def KickMember(
        self, request: group_pb2.KickMemberReq, context: object
    ) -> group_pb2.KickMemberResp:
        """Remove a member of lower rank."""
        group_id, operator, member_id = request.group_id, request.operator_id, request.member_id
        async with self._events.changing() as connection:
            await lock_group(connection, group_id)
            await require_below(connection, group_id, operator, member_id)
            await remove_member(connection, group_id, member_id)
            data = notices.about_member(group_id, operator, member_id)
            await self._events.note(
                connection,
                notices.to_group(group_id, "kickMember", data, but=[member_id]),
                notices.to_user(member_id, "kickMember", data),
                members_of=group_id,
            )
        return group_pb2.KickMemberResp(success=True)

    async def QuitGroup(
        self, request: group_pb2.QuitGroupReq, context: object
    ) -> group_pb2.QuitGroupResp:
        """Leave a group; its owner must hand it over or dismiss it."""
        group_id, user_id = request.group_id, request.user_id
        async with self._events.changing() as connection:
            await lock_group(connection, group_id)
            member = await require_member(connection, group_id, user_id)
            if member.role == OWNER:
                raise denied("owner_cannot_quit", "hand the group over or dismiss it")
            await remove_member(connection, group_id, user_id)
            data = notices.about_member(group_id, user_id, user_id)
            await self._events.note(
                connection, notices.to_group(group_id, "quitGroup", data), members_of=group_id
            )
        return group_pb2.QuitGroupResp(success=True)

    async def GetMemberList(
        self, request: group_pb2.GetMemberListReq, context: object
    ) -> group_pb2.GetMemberListResp:
        """List the members to one of them, or to user 0, a service that asks for itself."""
        async with self._database.read() as connection:
            await require_reader(connection, request.group_id, request.user_id)
            rows, total = await connection.run_sync(
                page_of,
                group_members,
                group_members.c.group_id == request.group_id,
                request.page,
                request.page_size,
            )
        return group_pb2.GetMemberListResp(members=map(member_info, rows), total=total)

    async def SetMemberRole(
        self, request: group_pb2.SetMemberRoleReq, context: object
    ) -> group_pb2.SetMemberRoleResp:
        """Change a role, as the owner; role 1 hands the group over and leaves him an admin."""
        group_id, operator, member_id = request.group_id, request.operator_id, request.member_id
        if request.role not in (OWNER, ADMIN, MEMBER):
            raise invalid("role is 1 owner, 2 admin or 3 member")
        async with self._events.changing() as connection:
            await lock_group(connection, group_id)
            owner = await require_rank(connection, group_id, operator, OWNER)
            changed = [await require_below(connection, group_id, operator, member_id)]
            await update_member(connection, group_id, member_id, role=request.role)
            if request.role == OWNER:
                changed.append(owner)
                await update_member(connection, group_id, operator, role=ADMIN)
                await connection.execute(
                    update(groups).where(groups.c.group_id == group_id).values(owner_id=member_id)
                )
            await self._events.note(
                connection,
                *(
                    _member_update(operator, member, role=role)
                    for member, role in zip(changed, (request.role, ADMIN), strict=False)
                ),
            )
        return group_pb2.SetMemberRoleResp(success=True)

    async def SetMemberMute(
        self, request: group_pb2.SetMemberMuteReq, context: object
    ) -> group_pb2.SetMemberMuteResp:
        """Mute a member of lower rank (1), or let him speak again (0)."""
        group_id, operator, member_id = request.group_id, request.operator_id, request.member_id
        if request.mute not in (0, 1):
            raise invalid("mute is 0 or 1")
        async with self._events.changing() as connection:
            await lock_group(connection, group_id)
            member = await require_below(connection, group_id, operator, member_id)
            await update_member(connection, group_id, member_id, mute=request.mute)
            await self._events.note(connection, _member_update(operator, member, mute=request.mute))
        return group_pb2.SetMemberMuteResp(success=True)

    async def CheckMembership(
        self, request: group_pb2.CheckMembershipReq, context: object
    ) -> group_pb2.CheckMembershipResp:
        """Say whether a user is in a group, and how; nobody is in a group that does not exist."""
        seat = select(group_members).where(
            group_members.c.group_id == request.group_id, group_members.c.user_id == request.user_id
        )
        # On one thread: gateways ask it for whatever group a client may name.
        member = await self._database.run_read(
            lambda connection: connection.execute(seat).one_or_none()
        )
        if member is None:
            return group_pb2.CheckMembershipResp(is_member=False)
        return group_pb2.CheckMembershipResp(is_member=True, member=member_info(member))

    async def UpdateGroupReadSeq(
        self, request: group_pb2.UpdateGroupReadSeqReq, context: object
    ) -> group_pb2.UpdateGroupReadSeqResp:
        """Move the user's read mark forward, at most to the group's last message."""
        # A stranger, who may ask for any group, keeps no writer waiting.
        await self._database.run_read(
            lambda connection: history.require_member(connection, request.group_id, request.user_id)
        )
        async with self._database.write() as connection:
            await find_group(connection, request.group_id)
            await require_member(connection, request.group_id, request.user_id)
            await move_read_mark(connection, request.group_id, request.user_id, request.read_seq)
        return group_pb2.UpdateGroupReadSeqResp(success=True)

    async def GetJoinedGroups(
        self, request: group_pb2.GetJoinedGroupsReq, context: object
    ) -> group_pb2.GetJoinedGroupsResp:
        """List the user's seats in all groups that are not dismissed."""
        check_users(request.user_id)
        seats = (
            select(group_members)
            .join(groups, groups.c.group_id == group_members.c.group_id)
            .where(group_members.c.user_id == request.user_id, groups.c.status == ACTIVE)
            .order_by(group_members.c.id)
        )
        # Each login asks for this: on one thread, not on four for each statement.
        rows = await self._database.run_read(lambda connection: connection.execute(seats).all())
        return group_pb2.GetJoinedGroupsResp(list=map(member_info, rows))

    async def GetJoinedGroupsOf(
        self, request: group_pb2.GetJoinedGroupsOfReq, context: object
    ) -> group_pb2.GetJoinedGroupsOfResp:
        """List the groups of many users that are not dismissed."""
        check_asked(request.user_ids)
        seats = select(group_members.c.user_id, group_members.c.group_id).join(
            groups, groups.c.group_id == group_members.c.group_id
        )
        found = await self._database.run_read(
            lambda connection: lists_of(
                connection,
                seats,
                group_members.c.user_id,
                request.user_ids,
                groups.c.status == ACTIVE,
            )
        )
        return group_pb2.GetJoinedGroupsOfResp(
            lists=[group_pb2.JoinedGroups(user_id=u, group_ids=ids) for u, ids in found.items()]
        )


def _member_update(operator: int, member: Row[Any], **changed: int) -> Push:
    shown = {"role": member.role, "mute": member.mute} | changed
    data = notices.about_member(member.group_id, operator, member.user_id, **shown)
    return notices.to_group(member.group_id, "memberUpdate", data)
