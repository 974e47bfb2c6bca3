"""Invitations and join requests over real gRPC and SQLite."""

from pathlib import Path

import pytest

from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.services.tables import ADMIN, MEMBER, OWNER
from tests.services.group_calls import (
    answer_invitation,
    answer_join,
    ask_to_join,
    dismiss,
    invite,
    kick,
    leave,
    make_group,
    roles,
    seat,
    send_invitation,
    set_role,
)
from tests.services.serving import (
    ACCEPT,
    DENIED,
    EXISTS,
    INVALID,
    NOT_FOUND,
    NOT_MEMBER,
    REFUSE,
    ROLE_TOO_LOW,
    refused,
    serving,
)


@pytest.mark.gen_test
async def test_invitation_is_answered_once_by_the_invited(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2)
        refusal = await send_invitation(services, group_id, 2, 5)
        assert await send_invitation(services, group_id, 2, 5) == refusal
        with refused(DENIED, "not_receiver"):
            await answer_invitation(services, 2, refusal, ACCEPT)
        await answer_invitation(services, 5, refusal, REFUSE)
        assert await seat(services, group_id, 5) is None
        with refused(EXISTS, "already_handled"):
            await answer_invitation(services, 5, refusal, ACCEPT)
        acceptance = await send_invitation(services, group_id, 2, 5)
        assert acceptance != refusal
        await answer_invitation(services, 5, acceptance, ACCEPT)
        assert await roles(services, group_id) == {1: OWNER, 2: MEMBER, 5: MEMBER}
        with refused(EXISTS, "already_member"):
            await send_invitation(services, group_id, 1, 5)
        with refused(*NOT_MEMBER):
            await send_invitation(services, group_id, 9, 10)
        with refused(NOT_FOUND, "request_not_found"):
            await answer_invitation(services, 5, acceptance + 1, ACCEPT)
        received = await services.group.GetReceivedInvitations(
            pb.GetReceivedInvitationsReq(user_id=5)
        )
        sent = await services.group.GetSentInvitations(pb.GetSentInvitationsReq(user_id=2))
        assert [each.status for each in received.list] == [ACCEPT, REFUSE]
        assert list(sent.list) == list(received.list)


@pytest.mark.gen_test
async def test_join_request_is_answered_once_by_owner_or_admin(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2, 3)
        await set_role(services, group_id, 1, 2, ADMIN)
        refusal = await ask_to_join(services, group_id, 5)
        assert await ask_to_join(services, group_id, 5) == refusal
        with refused(*ROLE_TOO_LOW):
            await answer_join(services, 3, refusal, ACCEPT)
        with refused(*NOT_MEMBER):
            await answer_join(services, 5, refusal, ACCEPT)
        await answer_join(services, 2, refusal, REFUSE)
        with refused(EXISTS, "already_handled"):
            await answer_join(services, 1, refusal, ACCEPT)
        acceptance = await ask_to_join(services, group_id, 5)
        await answer_join(services, 1, acceptance, ACCEPT)
        assert await roles(services, group_id) == {1: OWNER, 2: ADMIN, 3: MEMBER, 5: MEMBER}
        with refused(EXISTS, "already_member"):
            await ask_to_join(services, group_id, 5)
        request = pb.GetGroupJoinRequestsReq(group_id=group_id, operator_id=2)
        listed = await services.group.GetGroupJoinRequests(request)
        assert [(each.status, each.handler_id) for each in listed.list] == [(1, 1), (2, 2)]
        assert {each.message for each in listed.list} == {"let me in"}
        sent = await services.group.GetSentJoinRequests(pb.GetSentJoinRequestsReq(user_id=5))
        assert (list(sent.list), sent.total) == (list(listed.list), 2)
        request.operator_id = 3
        with refused(*ROLE_TOO_LOW):
            await services.group.GetGroupJoinRequests(request)


@pytest.mark.gen_test
async def test_requests_to_all_groups_that_a_user_manages_are_listed(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        owned, managed = await make_group(services, 1), await make_group(services, 2, 1)
        await set_role(services, managed, 2, 1, ADMIN)
        member_only, foreign = await make_group(services, 2, 1), await make_group(services, 2)
        gone = await make_group(services, 1)
        groups = (owned, managed, member_only, foreign, gone)
        asked = [await ask_to_join(services, group_id, 5) for group_id in groups]
        await dismiss(services, gone, 1)
        ask = services.group.GetAllManagedGroupJoinRequests
        found = await ask(pb.GetAllManagedGroupJoinRequestsReq(user_id=1))
        assert [each.id for each in found.list] == [asked[1], asked[0]]
        second = await ask(pb.GetAllManagedGroupJoinRequestsReq(user_id=1, page=2, page_size=1))
        assert ([each.id for each in second.list], second.total) == ([asked[0]], 2)
        assert not (await ask(pb.GetAllManagedGroupJoinRequestsReq(user_id=5))).list
        with refused(*INVALID):
            await ask(pb.GetAllManagedGroupJoinRequestsReq())


@pytest.mark.gen_test
async def test_full_group_admits_nobody_and_keeps_the_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2, limit=2)
        request = await ask_to_join(services, group_id, 5)
        invitation = await send_invitation(services, group_id, 1, 6)
        with refused(DENIED, "group_full"):
            await answer_join(services, 1, request, ACCEPT)
        with refused(DENIED, "group_full"):
            await answer_invitation(services, 6, invitation, ACCEPT)
        await leave(services, group_id, 2)
        await answer_join(services, 1, request, ACCEPT)
        assert await roles(services, group_id) == {1: OWNER, 5: MEMBER}


@pytest.mark.gen_test
async def test_old_invitation_does_not_bring_back_a_kicked_member(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1)
        invitation = await send_invitation(services, group_id, 1, 5)
        request = await ask_to_join(services, group_id, 5)
        assert await invite(services, group_id, 1, 5) == []
        await kick(services, group_id, 1, 5)
        with refused(EXISTS, "already_handled"):
            await answer_invitation(services, 5, invitation, ACCEPT)
        with refused(EXISTS, "already_handled"):
            await answer_join(services, 1, request, ACCEPT)
