"""The calls of the Group service, as short as the tests about groups need them."""

from typing import Any

from skyeim_ws.contract.pb import group_pb2 as pb
from tests.services.conftest import Services


async def make_group(services: Services, owner: int, *others: int, limit: int = 0) -> str:
    response = await services.group.CreateGroup(
        pb.CreateGroupReq(owner_id=owner, name="Tea", member_ids=others, max_members=limit)
    )
    return response.group.group_id


async def info(services: Services, group_id: str) -> pb.GroupInfo:
    return (await services.group.GetGroupInfo(pb.GetGroupInfoReq(group_id=group_id))).group


async def roles(services: Services, group_id: str) -> dict[int, int]:
    response = await services.group.GetMemberList(pb.GetMemberListReq(group_id=group_id))
    members = {member.user_id: member.role for member in response.members}
    assert response.total == len(members) == (await info(services, group_id)).member_count
    return members


async def invite(services: Services, group_id: str, inviter: int, *others: int) -> list[int]:
    response = await services.group.InviteMembers(
        pb.InviteMembersReq(group_id=group_id, inviter_id=inviter, member_ids=others)
    )
    assert response.success_count == len(set(others)) - len(response.failed_ids)
    return list(response.failed_ids)


async def kick(services: Services, group_id: str, operator: int, member: int) -> None:
    await services.group.KickMember(
        pb.KickMemberReq(group_id=group_id, operator_id=operator, member_id=member)
    )


async def set_role(
    services: Services, group_id: str, operator: int, member: int, role: int
) -> None:
    await services.group.SetMemberRole(
        pb.SetMemberRoleReq(group_id=group_id, operator_id=operator, member_id=member, role=role)
    )


async def mute(services: Services, group_id: str, operator: int, member: int, on: int = 1) -> None:
    await services.group.SetMemberMute(
        pb.SetMemberMuteReq(group_id=group_id, operator_id=operator, member_id=member, mute=on)
    )


async def leave(services: Services, group_id: str, user_id: int) -> None:
    await services.group.QuitGroup(pb.QuitGroupReq(group_id=group_id, user_id=user_id))


async def dismiss(services: Services, group_id: str, operator: int) -> None:
    await services.group.DismissGroup(pb.DismissGroupReq(group_id=group_id, operator_id=operator))


async def update(services: Services, group_id: str, operator: int, **fields: Any) -> pb.GroupInfo:
    response = await services.group.UpdateGroup(
        pb.UpdateGroupReq(group_id=group_id, operator_id=operator, **fields)
    )
    return response.group


async def seat(services: Services, group_id: str, user_id: int) -> pb.MemberInfo | None:
    response = await services.group.CheckMembership(
        pb.CheckMembershipReq(group_id=group_id, user_id=user_id)
    )
    return response.member if response.is_member else None


async def send_invitation(services: Services, group_id: str, inviter: int, invitee: int) -> int:
    response = await services.group.SendGroupInvitation(
        pb.SendGroupInvitationReq(group_id=group_id, inviter_id=inviter, invitee_id=invitee)
    )
    return response.invitation_id


async def answer_invitation(services: Services, user_id: int, which: int, action: int) -> None:
    await services.group.HandleGroupInvitation(
        pb.HandleGroupInvitationReq(user_id=user_id, invitation_id=which, action=action)
    )


async def ask_to_join(services: Services, group_id: str, user_id: int) -> int:
    response = await services.group.SendJoinRequest(
        pb.SendJoinRequestReq(group_id=group_id, user_id=user_id, message="let me in")
    )
    return response.request_id


async def answer_join(services: Services, operator: int, which: int, action: int) -> None:
    await services.group.HandleJoinRequest(
        pb.HandleJoinRequestReq(operator_id=operator, request_id=which, action=action)
    )
