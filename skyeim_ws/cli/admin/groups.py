"""The admin commands about groups; what only members may do is done in the owner's name.

The status of a call says whether it was done: existing servers leave `success` unset.
"""

from argparse import Namespace
from collections.abc import Iterable

import grpc

from skyeim_ws.cli.admin.calls import AdminError, call
from skyeim_ws.cli.admin.output import Answer, counted, fields, local_time, printable, table
from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.contract.pb.group_pb2_grpc import GroupStub
from skyeim_ws.store.operators import Operators

_SERVICE = 0
"""The user id of a service that asks for itself, who may see every group."""

_ROLES = {1: "owner", 2: "admin", 3: "member"}
_NUMBERS = {name: number for number, name in _ROLES.items()}
_STATUS = {1: "normal", 2: "dismissed"}
_ALL = 10_000
"""The size of a page: as much as the services put into one."""


async def create(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Make a group."""
    request = pb.CreateGroupReq(
        owner_id=arguments.owner, name=arguments.name, member_ids=arguments.members
    )
    group = (await call(GroupStub(channel).CreateGroup, request)).group
    return Answer(
        {"group": fields(group)},
        f"created group {group.group_id} with owner {group.owner_id}, "
        f"{counted(group.member_count, 'member')}",
    )


async def list_groups(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Show the groups of a user."""
    request = pb.GetUserGroupListReq(user_id=arguments.user, page=1, page_size=_ALL)
    found = await call(GroupStub(channel).GetUserGroupList, request)
    groups = sorted(found.groups, key=lambda each: each.group_id)
    rows = (
        (
            each.group_id,
            each.owner_id,
            f"{each.member_count}/{each.max_members}",
            local_time(each.created_at),
            each.name,
        )
        for each in groups
    )
    headings = ("GROUP", "OWNER", "MEMBERS", "CREATED", "NAME")
    return Answer(
        {
            "userId": arguments.user,
            "groups": [fields(each) for each in groups],
            "total": found.total,
        },
        table(headings, rows, empty=f"{arguments.user} is in no group"),
    )


async def info(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Show one group, also a dismissed one."""
    group = await _group(channel, arguments.group)
    rows = (
        ("name", group.name),
        ("owner", group.owner_id),
        ("members", f"{group.member_count} of at most {group.max_members}"),
        ("status", _STATUS.get(group.status, group.status)),
        ("description", group.description or "-"),
        ("created", local_time(group.created_at)),
        ("updated", local_time(group.updated_at)),
    )
    return Answer({"group": fields(group)}, table(("group", group.group_id), rows, empty=""))


async def members(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Show the members of a group, the owner first."""
    found = await _members(channel, arguments.group)
    return _shown(arguments.group, found.members, f"{printable(arguments.group)} has no members")


async def members_online(
    channel: grpc.aio.Channel, operators: Operators, arguments: Namespace
) -> Answer:
    """Show the members of a group who are online."""
    found = await _members(channel, arguments.group)
    online = await operators.online_members(arguments.group)
    seats = [seat for seat in found.members if seat.user_id in online]
    empty = f"no member of {printable(arguments.group)} is online"
    return _shown(arguments.group, seats, empty)


def _shown(group_id: str, members: Iterable[pb.MemberInfo], empty: str) -> Answer:
    seats = sorted(members, key=lambda seat: (seat.role, seat.user_id))
    rows = (
        (
            seat.user_id,
            _ROLES.get(seat.role, seat.role),
            "yes" if seat.mute else "no",
            seat.read_seq,
            local_time(seat.joined_at),
            seat.nickname,
        )
        for seat in seats
    )
    headings = ("USER", "ROLE", "MUTED", "READ", "JOINED", "NICKNAME")
    return Answer(
        {
            "groupId": group_id,
            "members": [fields(seat) for seat in seats],
            "total": len(seats),
        },
        table(headings, rows, empty=empty),
    )


async def add(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Add users to a group; who is in already is fine, who finds no room is not."""
    group_id = arguments.group
    wanted = list(dict.fromkeys(arguments.users))
    owner = await _owner(channel, group_id)
    request = pb.InviteMembersReq(group_id=group_id, inviter_id=owner, member_ids=wanted)
    failed = set((await call(GroupStub(channel).InviteMembers, request)).failed_ids)
    present = await _members(channel, group_id) if failed else pb.GetMemberListResp()
    already = sorted(failed & {seat.user_id for seat in present.members})
    added = [user for user in wanted if user not in failed]
    if missing := sorted(failed - set(already)):
        raise AdminError(
            f"added {counted(len(added), 'user')} to {group_id}, but not {_names(missing)}: "
            f"`skyeim-ws admin group info {group_id}` shows whether there is room"
        )
    text = f"added {counted(len(added), 'user')} to {printable(group_id)}"
    return Answer(
        {"groupId": group_id, "added": added, "already": already},
        f"{text}; already in it: {_names(already)}" if already else text,
    )


async def kick(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Remove a member from a group."""
    group_id, user = arguments.group, arguments.user
    request = pb.KickMemberReq(
        group_id=group_id, operator_id=await _owner(channel, group_id), member_id=user
    )
    await call(GroupStub(channel).KickMember, request)
    return Answer(
        {"groupId": group_id, "userId": user, "member": False},
        f"{user} is no longer in {printable(group_id)}",
    )


async def mute(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Mute a member of a group, or undo that."""
    group_id, user, muted = arguments.group, arguments.user, not arguments.undo
    request = pb.SetMemberMuteReq(
        group_id=group_id,
        operator_id=await _owner(channel, group_id),
        member_id=user,
        mute=int(muted),
    )
    await call(GroupStub(channel).SetMemberMute, request)
    return Answer(
        {"groupId": group_id, "userId": user, "muted": muted},
        f"{user} is {'muted' if muted else 'no longer muted'} in {printable(group_id)}",
    )


async def role(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Change the role of a member; a new owner leaves the old one an admin."""
    group_id, user, number = arguments.group, arguments.user, _NUMBERS[arguments.role]
    owner = await _owner(channel, group_id)
    request = pb.SetMemberRoleReq(group_id=group_id, operator_id=owner, member_id=user, role=number)
    await call(GroupStub(channel).SetMemberRole, request)
    text = f"{user} is now {arguments.role} of {printable(group_id)}"
    return Answer(
        {"groupId": group_id, "userId": user, "role": number},
        f"{text}, and {owner} is admin" if arguments.role == "owner" else text,
    )


async def dismiss(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """End a group for good; its members can still read."""
    group_id = arguments.group
    request = pb.DismissGroupReq(group_id=group_id, operator_id=await _owner(channel, group_id))
    await call(GroupStub(channel).DismissGroup, request)
    return Answer({"groupId": group_id, "dismissed": True}, f"{printable(group_id)} was dismissed")


async def _group(channel: grpc.aio.Channel, group_id: str) -> pb.GroupInfo:
    request = pb.GetGroupInfoReq(group_id=group_id, user_id=_SERVICE)
    return (await call(GroupStub(channel).GetGroupInfo, request)).group


async def _owner(channel: grpc.aio.Channel, group_id: str) -> int:
    return (await _group(channel, group_id)).owner_id


async def _members(channel: grpc.aio.Channel, group_id: str) -> pb.GetMemberListResp:
    request = pb.GetMemberListReq(group_id=group_id, user_id=_SERVICE, page=1, page_size=_ALL)
    return await call(GroupStub(channel).GetMemberList, request)


def _names(users: list[int]) -> str:
    return ", ".join(map(str, users))
