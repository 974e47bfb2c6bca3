"""The Group service over real gRPC and SQLite: the life of a group, and who hears of it."""

import time
from pathlib import Path
from typing import Any

import pytest

from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.services.tables import ADMIN, MEMBER, OWNER
from tests.services.group_calls import (
    answer_invitation,
    answer_join,
    ask_to_join,
    dismiss,
    info,
    invite,
    kick,
    leave,
    make_group,
    mute,
    roles,
    send_invitation,
    set_role,
    update,
)
from tests.services.peers import running_gateway
from tests.services.serving import (
    ACCEPT,
    INVALID,
    NO_GROUP,
    NOT_MEMBER,
    ROLE_TOO_LOW,
    refused,
    serving,
)


@pytest.mark.gen_test
async def test_created_group_has_its_owner_and_members(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        response = await services.group.CreateGroup(
            pb.CreateGroupReq(owner_id=1, name="Tea", avatar="a", member_ids=[3, 2, 1, 3])
        )
        group = response.group
        assert (group.name, group.avatar, group.owner_id) == ("Tea", "a", 1)
        assert (group.max_members, group.member_count, group.status) == (200, 3, 1)
        assert len(group.group_id) == 18
        assert group.updated_at >= group.created_at > 0
        assert await info(services, group.group_id) == group
        assert await roles(services, group.group_id) == {1: OWNER, 2: MEMBER, 3: MEMBER}
        assert await make_group(services, 1) != group.group_id


@pytest.mark.gen_test
async def test_bad_groups_are_invalid(tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [
        {"owner_id": 0},
        {"name": " "},
        {"name": "x" * 65},
        {"description": "x" * 513},
        {"member_ids": [-1]},
        {"max_members": -1},
        {"max_members": 10_001},
        {"max_members": 2, "member_ids": [2, 3]},
    ]
    async with serving(tmp_path) as services:
        for fields in bad:
            request: dict[str, Any] = {"owner_id": 1, "name": "Tea"} | fields
            with refused(*INVALID):
                await services.group.CreateGroup(pb.CreateGroupReq(**request))


@pytest.mark.gen_test
async def test_only_members_and_services_see_a_group(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2)
        for user_id in (0, 1, 2):
            await services.group.GetGroupInfo(
                pb.GetGroupInfoReq(group_id=group_id, user_id=user_id)
            )
            await services.group.GetMemberList(
                pb.GetMemberListReq(group_id=group_id, user_id=user_id)
            )
        with refused(*NOT_MEMBER):
            await services.group.GetGroupInfo(pb.GetGroupInfoReq(group_id=group_id, user_id=3))
        with refused(*NOT_MEMBER):
            await services.group.GetMemberList(pb.GetMemberListReq(group_id=group_id, user_id=3))
        with refused(*NO_GROUP):
            await services.group.GetMemberList(pb.GetMemberListReq(group_id="g_none"))
        with refused(*NO_GROUP):
            await info(services, "g_none")


@pytest.mark.gen_test
async def test_owner_and_admins_update_what_they_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2, 3)
        await set_role(services, group_id, 1, 2, ADMIN)
        group = await update(services, group_id, 2, name="Coffee", max_members=3)
        assert (group.name, group.description, group.max_members) == ("Coffee", "", 3)
        group = await update(services, group_id, 1, description="for all")
        assert (group.name, group.description, group.max_members) == ("Coffee", "for all", 3)
        assert await update(services, group_id, 1) == group
        with refused(*ROLE_TOO_LOW):
            await update(services, group_id, 3, name="Mine")
        with refused(*INVALID):
            await update(services, group_id, 1, max_members=2)
        assert await invite(services, group_id, 1, 4) == [4]


@pytest.mark.gen_test
async def test_dismissed_group_can_be_read_but_not_changed(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2)
        invitation = await send_invitation(services, group_id, 1, 5)
        with refused(*ROLE_TOO_LOW):
            await dismiss(services, group_id, 2)
        await dismiss(services, group_id, 1)
        group = await services.group.GetGroupInfo(pb.GetGroupInfoReq(group_id=group_id, user_id=2))
        assert group.group.status == 2
        assert await roles(services, group_id) == {1: OWNER, 2: MEMBER}
        for change in (
            dismiss(services, group_id, 1),
            invite(services, group_id, 1, 3),
            kick(services, group_id, 1, 2),
            leave(services, group_id, 2),
            set_role(services, group_id, 1, 2, ADMIN),
            mute(services, group_id, 1, 2),
            update(services, group_id, 1, name="Again"),
            ask_to_join(services, group_id, 4),
            send_invitation(services, group_id, 1, 4),
            answer_invitation(services, 5, invitation, ACCEPT),
        ):
            with refused(*NO_GROUP):
                await change
        joined = await services.group.GetJoinedGroups(pb.GetJoinedGroupsReq(user_id=2))
        listed = await services.group.GetUserGroupList(pb.GetUserGroupListReq(user_id=2))
        found = await services.group.SearchGroup(pb.SearchGroupReq(keyword=group_id))
        assert (len(joined.list), listed.total, len(found.groups)) == (0, 0, 0)


@pytest.mark.gen_test
async def test_groups_of_a_user(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        mine = [await make_group(services, 1, 2), await make_group(services, 2, 1)]
        await make_group(services, 2, 3)
        joined = await services.group.GetJoinedGroups(pb.GetJoinedGroupsReq(user_id=1))
        assert [(each.group_id, each.role) for each in joined.list] == [
            (mine[0], OWNER),
            (mine[1], MEMBER),
        ]
        listed = await services.group.GetUserGroupList(
            pb.GetUserGroupListReq(user_id=1, page=2, page_size=1)
        )
        assert [group.group_id for group in listed.groups] == [mine[0]]
        assert listed.total == 2


@pytest.mark.gen_test
async def test_search_takes_the_keyword_literally(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        names = {}
        for name in ("Tea 100%", "Tea 100", "Coffee"):
            group = await services.group.CreateGroup(pb.CreateGroupReq(owner_id=1, name=name))
            names[group.group.group_id] = name

        async def search(keyword: str) -> list[str]:
            response = await services.group.SearchGroup(pb.SearchGroupReq(keyword=keyword))
            return [group.name for group in response.groups]

        assert await search("Tea") == ["Tea 100%", "Tea 100"]
        assert await search("100%") == ["Tea 100%"]
        assert await search("_") == []
        for group_id, name in names.items():
            assert await search(group_id) == [name]
        for keyword in ("", "  ", "x" * 65):
            with refused(*INVALID):
                await search(keyword)


@pytest.mark.gen_test
async def test_everyone_concerned_is_told(tmp_path: Path) -> None:
    async with running_gateway() as gateway, serving(tmp_path, push_url=gateway.url) as services:
        group_id = await make_group(services, 1, 2)
        await invite(services, group_id, 2, 3)
        await kick(services, group_id, 1, 3)
        await leave(services, group_id, 2)
        await answer_invitation(
            services, 4, await send_invitation(services, group_id, 1, 4), ACCEPT
        )
        await answer_join(services, 1, await ask_to_join(services, group_id, 5), ACCEPT)
        await mute(services, group_id, 1, 4)
        await set_role(services, group_id, 1, 5, OWNER)
        await update(services, group_id, 5, name="Coffee", max_members=7)
        await dismiss(services, group_id, 5)
        await gateway.heard("dismissGroup")
        heard = [
            (call["eventType"], call["groupId"])
            if call["type"] == "group"
            else (call["notificationType"], call["userId"])
            for call in gateway.calls
        ]
        assert heard == [
            ("createGroup", group_id),
            ("inviteMember", group_id),
            ("inviteMember", 3),
            ("kickMember", group_id),
            ("kickMember", 3),
            ("quitGroup", group_id),
            ("group_invitation", 4),
            ("group_invitation_handled", 1),
            ("joinGroup", group_id),
            ("joinGroup", 4),
            ("group_join_request", 1),
            ("group_join_request_handled", 5),
            ("joinGroup", group_id),
            ("joinGroup", 5),
            ("memberUpdate", group_id),
            ("memberUpdate", group_id),
            ("memberUpdate", group_id),
            ("updateGroup", group_id),
            ("dismissGroup", group_id),
        ]
        data = {kind: gateway.of_kind(kind)[0]["eventData"] for kind, _ in heard[:6]}
        assert data["createGroup"]["memberIds"] == [1, 2]
        assert data["createGroup"]["group"]["memberCount"] == 2
        common = {"groupId": group_id, "operatorId": 2}
        assert data["inviteMember"] == common | {"inviterId": 2, "memberIds": [3]}
        assert data["quitGroup"] == common | {"userId": 2, "memberId": 2}
        common["operatorId"] = 1
        assert data["kickMember"] == common | {"userId": 3, "memberId": 3}
        joined = [call["eventData"] for call in gateway.of_kind("joinGroup")[::2]]
        assert [(each["userId"], each["operatorId"]) for each in joined] == [(4, 4), (5, 1)]
        told = {kind: gateway.of_kind(kind)[0]["data"] for kind, _ in heard if "_" in kind}
        invitation, answer = told["group_invitation"], told["group_invitation_handled"]
        assert invitation == {
            "id": invitation["invitationId"],
            "invitationId": answer["id"],
            "groupId": group_id,
            "groupName": "Tea",
            "inviterId": 1,
            "message": "",
            "createdAt": invitation["createdAt"],
        }
        assert answer["id"] == answer["invitationId"] == invitation["id"]
        assert (answer["action"], answer["status"]) == ("accepted", 1)
        assert invitation["createdAt"] <= answer["handledAt"] <= time.time()
        request, answer = told["group_join_request"], told["group_join_request_handled"]
        assert request["id"] == request["requestId"] == answer["id"]
        assert (request["userId"], request["message"]) == (5, "let me in")
        assert request["createdAt"] <= answer["handledAt"]
        updates = [call["eventData"] for call in gateway.of_kind("memberUpdate")]
        assert all(each["userId"] == each["memberId"] for each in updates)
        assert [(each["userId"], each["role"], each["mute"]) for each in updates] == [
            (4, MEMBER, 1),
            (5, OWNER, 0),
            (1, ADMIN, 0),
        ]
        update_ = gateway.of_kind("updateGroup")[0]["eventData"]
        assert update_["group"]["name"] == update_["name"] == "Coffee"
        assert update_.keys() == {"groupId", "operatorId", "name", "maxMembers", "group"}
        assert update_["maxMembers"] == 7
