"""Members over real gRPC and SQLite: ranks, limits, read marks and the member cache."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.services.tables import ADMIN, MEMBER, OWNER, group_seqs, messages
from tests.services.group_calls import (
    info,
    invite,
    kick,
    leave,
    make_group,
    mute,
    roles,
    seat,
    set_role,
)
from tests.services.peers import running_gateway, running_valkey, valkey_at
from tests.services.serving import (
    DENIED,
    INVALID,
    NO_GROUP,
    NOT_FOUND,
    NOT_MEMBER,
    ROLE_TOO_LOW,
    refused,
    serving,
)
from tests.waiting import until


@pytest.mark.gen_test
async def test_member_list_comes_in_pages(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, *range(2, 51))

        async def page(number: int, size: int) -> set[int]:
            response = await services.group.GetMemberList(
                pb.GetMemberListReq(group_id=group_id, user_id=1, page=number, page_size=size)
            )
            assert response.total == 50
            return {member.user_id for member in response.members}

        assert await page(1, 10_000) == set(range(1, 51))
        first, second, third = await page(0, 0), await page(2, 0), await page(3, 0)
        assert [len(first), len(second), len(third)] == [20, 20, 10]
        assert first | second | third == set(range(1, 51))


@pytest.mark.gen_test
async def test_any_member_invites_and_the_rest_fail_by_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2, limit=4)
        assert await invite(services, group_id, 2, 1, 5, 5, -7, 6, 7) == [-7, 1, 7]
        assert await roles(services, group_id) == {1: OWNER, 2: MEMBER, 5: MEMBER, 6: MEMBER}
        with refused(*NOT_MEMBER):
            await invite(services, group_id, 9, 10)
        with refused(*NO_GROUP):
            await invite(services, "g_none", 1, 2)


@pytest.mark.gen_test
async def test_limit_and_count_hold_when_many_change_members_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, *range(2, 12), limit=20)
        failed = await asyncio.gather(
            *(invite(services, group_id, 1, n, n + 1) for n in range(100, 140, 2)),
            *(kick(services, group_id, 1, n) for n in range(2, 7)),
        )
        members = await roles(services, group_id)
        refused_ids = {user_id for each in failed for user_id in each or []}
        assert len(members) <= 20
        assert set(members) == ({1} | set(range(7, 12)) | set(range(100, 140))) - refused_ids


@pytest.mark.gen_test
async def test_kicking_follows_rank(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2, 3, 4, 5)
        await set_role(services, group_id, 1, 2, ADMIN)
        await set_role(services, group_id, 1, 3, ADMIN)
        for operator, member in ((2, 1), (2, 3), (2, 2), (4, 5), (4, 2), (1, 1)):
            with refused(*ROLE_TOO_LOW):
                await kick(services, group_id, operator, member)
        with refused(NOT_FOUND, "member_not_found"):
            await kick(services, group_id, 1, 99)
        with refused(*NOT_MEMBER):
            await kick(services, group_id, 99, 5)
        await kick(services, group_id, 2, 4)
        await kick(services, group_id, 1, 2)
        assert await roles(services, group_id) == {1: OWNER, 3: ADMIN, 5: MEMBER}


@pytest.mark.gen_test
async def test_muting_follows_rank(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2, 3)
        await set_role(services, group_id, 1, 2, ADMIN)
        await mute(services, group_id, 2, 3)
        member = await seat(services, group_id, 3)
        assert member is not None
        assert member.mute == 1
        await mute(services, group_id, 2, 3, on=0)
        member = await seat(services, group_id, 3)
        assert member is not None
        assert member.mute == 0
        for operator, other in ((3, 2), (2, 1), (2, 2)):
            with refused(*ROLE_TOO_LOW):
                await mute(services, group_id, operator, other)
        with refused(*INVALID):
            await mute(services, group_id, 1, 3, on=2)


@pytest.mark.gen_test
async def test_only_the_owner_sets_roles_and_may_hand_over(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2, 3)
        await set_role(services, group_id, 1, 2, ADMIN)
        with refused(*ROLE_TOO_LOW):
            await set_role(services, group_id, 2, 3, ADMIN)
        with refused(*ROLE_TOO_LOW):
            await set_role(services, group_id, 1, 1, MEMBER)
        with refused(*INVALID):
            await set_role(services, group_id, 1, 3, 4)
        with refused(DENIED, "owner_cannot_quit"):
            await leave(services, group_id, 1)
        await set_role(services, group_id, 1, 3, OWNER)
        assert await roles(services, group_id) == {1: ADMIN, 2: ADMIN, 3: OWNER}
        assert (await info(services, group_id)).owner_id == 3
        await leave(services, group_id, 1)
        assert await roles(services, group_id) == {2: ADMIN, 3: OWNER}
        with refused(*NOT_MEMBER):
            await leave(services, group_id, 1)


@pytest.mark.gen_test
async def test_membership_is_a_question_with_an_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1, 2)
        member = await seat(services, group_id, 2)
        assert member is not None
        assert (member.group_id, member.user_id, member.role) == (group_id, 2, MEMBER)
        assert member.joined_at > 0
        assert await seat(services, group_id, 3) is None
        assert await seat(services, "g_none", 1) is None


@pytest.mark.gen_test
@pytest.mark.parametrize("counted", [True, False])
async def test_read_mark_moves_forward_up_to_the_last_message(
    tmp_path: Path, counted: bool
) -> None:
    """The last seq is the counter of the group, or else that of its newest message."""
    async with serving(tmp_path) as services:
        group_id = await make_group(services, 1)
        async with services.database.write() as connection:
            if counted:
                await connection.execute(insert(group_seqs).values(group_id=group_id, seq=10))
            else:
                await connection.execute(
                    insert(messages).values(
                        msg_id="m", from_user_id=1, chat_type=2, group_id=group_id, seq=10,
                        content="x",
                    )
                )  # fmt: skip
        marks = []
        for seq in (7, 3, 2**64 - 1):
            await services.group.UpdateGroupReadSeq(
                pb.UpdateGroupReadSeqReq(group_id=group_id, user_id=1, read_seq=seq)
            )
            member = await seat(services, group_id, 1)
            assert member is not None
            marks.append(member.read_seq)
        assert marks == [7, 7, 10]
        with refused(*NOT_MEMBER):
            await services.group.UpdateGroupReadSeq(
                pb.UpdateGroupReadSeqReq(group_id=group_id, user_id=2, read_seq=1)
            )
        with refused(*NO_GROUP):
            await services.group.UpdateGroupReadSeq(
                pb.UpdateGroupReadSeqReq(group_id="g_none", user_id=1, read_seq=1)
            )


@pytest.mark.gen_test
async def test_cached_members_are_gone_when_a_change_is_heard(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as client:
        redis = valkey_at(tmp_path)
        async with running_gateway() as gateway, serving(tmp_path, redis, gateway.url) as services:
            group_id = await make_group(services, 1, 2)
            await gateway.heard("createGroup")
            cache = f"im:group:members:{group_id}"
            cached: list[object] = []
            gateway.on_call = lambda: cached.append(client.exists(cache))
            client.sadd(cache, 1, 2)
            await mute(services, group_id, 1, 2)
            await gateway.heard("memberUpdate")
            await kick(services, group_id, 1, 2)
            await gateway.heard("kickMember")
        assert cached[0] == 1, "muting changes no membership"
        assert cached[1] == 0


@pytest.mark.gen_test
async def test_cached_members_go_when_the_fate_of_a_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_valkey(tmp_path) as client:
        redis = valkey_at(tmp_path)
        async with running_gateway() as gateway, serving(tmp_path, redis, gateway.url) as services:
            group_id = await make_group(services, 1, 2)
            await gateway.heard("createGroup")
            cache = f"im:group:members:{group_id}"
            client.sadd(cache, 1, 2)
            write = services.database.write

            @asynccontextmanager
            async def lost_after_commit() -> AsyncIterator[AsyncConnection]:
                async with write() as connection:
                    yield connection
                raise OSError("the answer to the commit is lost")

            monkeypatch.setattr(services.database, "write", lost_after_commit)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await kick(services, group_id, 1, 2)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            await until(lambda: not client.exists(cache))


@pytest.mark.gen_test
async def test_the_groups_of_many_are_listed_together(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        both, first, over = [
            await make_group(services, *members) for members in ((1, 2), (1,), (1, 2))
        ]
        await services.group.DismissGroup(pb.DismissGroupReq(group_id=over, operator_id=1))
        response = await services.group.GetJoinedGroupsOf(
            pb.GetJoinedGroupsOfReq(user_ids=[1, 2, 3])
        )
        found = {each.user_id: set(each.group_ids) for each in response.lists}
        assert found == {1: {both, first}, 2: {both}, 3: set()}
        with refused(*INVALID):
            await services.group.GetJoinedGroupsOf(pb.GetJoinedGroupsOfReq())
