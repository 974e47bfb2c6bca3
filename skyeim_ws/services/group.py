"""The Group service over SQL: making, showing, changing and dismissing groups."""
# ruff: noqa: N802 - gRPC methods bear the names of the RPCs.

import base64
import secrets
from typing import Any

from sqlalchemy import Row, and_, or_, select, update

from skyeim_ws.contract.pb import group_pb2, group_pb2_grpc
from skyeim_ws.services import notices
from skyeim_ws.services.checks import check_text, check_users, insert_row, page_for
from skyeim_ws.services.errors import invalid
from skyeim_ws.services.invitations import InvitationRpcs
from skyeim_ws.services.members import (
    add_members,
    find_group,
    lock_group,
    require_rank,
    require_reader,
)
from skyeim_ws.services.membership import MemberRpcs
from skyeim_ws.services.tables import (
    ACTIVE,
    ADMIN,
    DISMISSED,
    OWNER,
    group_members,
    groups,
)

NAME_LENGTH = 64
AVATAR_LENGTH = 255
DESCRIPTION_LENGTH = 512
DEFAULT_MAX_MEMBERS = 200
MAX_MAX_MEMBERS = 10_000
"""The most that `max_members` may be: what one call of GetMemberList returns."""

SEARCH_LIMIT = 50


class GroupService(MemberRpcs, InvitationRpcs, group_pb2_grpc.GroupServicer):
    """Serves `group.Group`; raises RefusedError for the interceptor to answer."""

    async def CreateGroup(
        self, request: group_pb2.CreateGroupReq, context: object
    ) -> group_pb2.CreateGroupResp:
        """Make a group with its owner and first members."""
        check_users(request.owner_id, *request.member_ids)
        if not request.name.strip():
            raise invalid("name is empty")
        _check_fields(request)
        max_members = request.max_members or DEFAULT_MAX_MEMBERS
        others = set(request.member_ids) - {request.owner_id}
        if len(others) + 1 > max_members:
            raise invalid("there are more members than max_members")
        group_id = _new_group_id()
        async with self._events.changing() as connection:
            await insert_row(
                connection,
                groups,
                group_id=group_id,
                name=request.name,
                avatar=request.avatar,
                owner_id=request.owner_id,
                description=request.description,
                max_members=max_members,
                member_count=1,
            )
            await insert_row(
                connection, group_members, group_id=group_id, user_id=request.owner_id, role=OWNER
            )
            await add_members(connection, await find_group(connection, group_id), sorted(others))
            group = await find_group(connection, group_id)
            data = {
                "groupId": group_id,
                "operatorId": request.owner_id,
                "memberIds": [request.owner_id, *sorted(others)],
                "group": notices.group_json(group),
            }
            await self._events.note(
                connection, notices.to_group(group_id, "createGroup", data), members_of=group_id
            )
        return group_pb2.CreateGroupResp(group=group_info(group))

    async def GetGroupInfo(
        self, request: group_pb2.GetGroupInfoReq, context: object
    ) -> group_pb2.GetGroupInfoResp:
        """Show a group to a member, or to user 0, a service that asks for itself."""
        async with self._database.read() as connection:
            group = await require_reader(connection, request.group_id, request.user_id)
        return group_pb2.GetGroupInfoResp(group=group_info(group))

    async def UpdateGroup(
        self, request: group_pb2.UpdateGroupReq, context: object
    ) -> group_pb2.UpdateGroupResp:
        """Change what is not empty in the request, as owner or admin."""
        _check_fields(request)
        group_id = request.group_id
        fields = {
            "name": request.name.strip() and request.name,
            "avatar": request.avatar,
            "description": request.description,
            "max_members": request.max_members,
        }
        changed = {field: value for field, value in fields.items() if value}
        async with self._events.changing() as connection:
            group = await lock_group(connection, group_id)
            await require_rank(connection, group_id, request.operator_id, ADMIN)
            if 0 < request.max_members < group.member_count:
                raise invalid("the group has more members than max_members")
            if changed:
                await connection.execute(
                    update(groups).where(groups.c.group_id == group_id).values(**changed)
                )
                group = await find_group(connection, group_id)
                data = notices.updated(group, request.operator_id, changed)
                await self._events.note(connection, notices.to_group(group_id, "updateGroup", data))
        return group_pb2.UpdateGroupResp(group=group_info(group))

    async def DismissGroup(
        self, request: group_pb2.DismissGroupReq, context: object
    ) -> group_pb2.DismissGroupResp:
        """End a group, as its owner; its members can still read."""
        group_id = request.group_id
        async with self._events.changing() as connection:
            await lock_group(connection, group_id)
            await require_rank(connection, group_id, request.operator_id, OWNER)
            await connection.execute(
                update(groups).where(groups.c.group_id == group_id).values(status=DISMISSED)
            )
            data = {"groupId": group_id, "operatorId": request.operator_id}
            await self._events.note(
                connection, notices.to_group(group_id, "dismissGroup", data), members_of=group_id
            )
        return group_pb2.DismissGroupResp(success=True)

    async def GetUserGroupList(
        self, request: group_pb2.GetUserGroupListReq, context: object
    ) -> group_pb2.GetUserGroupListResp:
        """List the groups of a user that are not dismissed, newest first."""
        joined = select(group_members.c.group_id).where(group_members.c.user_id == request.user_id)
        where = and_(groups.c.status == ACTIVE, groups.c.group_id.in_(joined))
        rows, total = await page_for(self._database, groups, where, request)
        return group_pb2.GetUserGroupListResp(groups=map(group_info, rows), total=total)

    async def SearchGroup(
        self, request: group_pb2.SearchGroupReq, context: object
    ) -> group_pb2.SearchGroupResp:
        """Find groups by a part of the name or by the whole id; the first 50."""
        keyword = request.keyword.strip()
        check_text("keyword", keyword, NAME_LENGTH)
        if not keyword:
            raise invalid("keyword is empty")
        named = groups.c.name.contains(keyword, autoescape=True)
        async with self._database.read() as connection:
            found = await connection.execute(
                select(groups)
                .where(groups.c.status == ACTIVE, or_(named, groups.c.group_id == keyword))
                .order_by(groups.c.id)
                .limit(SEARCH_LIMIT)
            )
            rows = found.all()
        return group_pb2.SearchGroupResp(groups=map(group_info, rows))


def group_info(row: Row[Any]) -> group_pb2.GroupInfo:
    """Return a group as the RPCs show it."""
    return group_pb2.GroupInfo(
        id=row.id,
        group_id=row.group_id,
        name=row.name,
        avatar=row.avatar,
        owner_id=row.owner_id,
        description=row.description,
        max_members=row.max_members,
        member_count=row.member_count,
        status=row.status,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _check_fields(request: group_pb2.CreateGroupReq | group_pb2.UpdateGroupReq) -> None:
    check_text("name", request.name, NAME_LENGTH)
    check_text("avatar", request.avatar, AVATAR_LENGTH)
    check_text("description", request.description, DESCRIPTION_LENGTH)
    if not 0 <= request.max_members <= MAX_MAX_MEMBERS:
        raise invalid(f"max_members is at most {MAX_MAX_MEMBERS}")


def _new_group_id() -> str:
    """Return an id of 80 random bits: not to be guessed, and unique without asking."""
    return "g_" + base64.b32encode(secrets.token_bytes(10)).decode().lower()
