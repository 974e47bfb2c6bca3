"""The client of the Group service."""

import asyncio
from collections.abc import Mapping, Sequence

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.contract.pb.group_pb2_grpc import GroupStub
from skyeim_ws.logic.contacts import Group, Member, cut_page
from skyeim_ws.logic.ports import Refused
from skyeim_ws.rpc.gathered import Gathered
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service

PAGE_SIZE = 10_000
MEMBER = 3
"""The role of those who are neither owner nor admin."""


class GroupClient:
    """`ports.Groups` and `contacts.GroupPages` over a pool; raises Refused or Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._service = Service(pool, GroupStub)
        self._joined = Gathered(self._joined_of, self._joined_by, pool.spawn)

    async def joined(self, user_id: int) -> list[str]:
        """Return the ids of the groups that the user is in."""
        return await self._joined.get(user_id)

    async def _joined_of(self, user_ids: Sequence[int]) -> Mapping[int, list[str]] | None:
        answer = await self._service.ask_optional(
            lambda stub: stub.GetJoinedGroupsOf,
            pb.GetJoinedGroupsOfReq(user_ids=user_ids),
            denied=Reason.NOT_MEMBER,
        )
        return (
            None
            if answer is None
            else {each.user_id: list(each.group_ids) for each in answer.lists}
        )

    async def _joined_by(self, user_id: int) -> list[str]:
        answer = await self._service.ask(
            lambda stub: stub.GetJoinedGroups,
            pb.GetJoinedGroupsReq(user_id=user_id),
            denied=Reason.NOT_MEMBER,
        )
        return [seat.group_id for seat in answer.list]

    async def fetch_members(self, group_id: str, asker_id: int) -> frozenset[int]:
        """Return all members; `asker_id` is a member, or 0 when no user stands behind the call.

        Each page has a deadline of its own: a large group has many.
        """
        found: set[int] = set()
        page = 1
        while True:
            answer = await self._service.ask(
                lambda stub: stub.GetMemberList,
                pb.GetMemberListReq(
                    group_id=group_id, user_id=asker_id, page=page, page_size=PAGE_SIZE
                ),
                denied=Reason.NOT_MEMBER,
            )
            before = len(found)
            found.update(member.user_id for member in answer.members)
            # A server that ignores paging brings the same members again.
            if len(found) == before or len(found) >= answer.total:
                return frozenset(found)
            page += 1

    async def group_page(self, user_id: int, page: int, size: int) -> tuple[list[Group], int]:
        """Return a page of the user's groups, and how many there are; pages count from 1."""
        answer = await self._service.ask(
            lambda stub: stub.GetUserGroupList,
            pb.GetUserGroupListReq(user_id=user_id, page=page, page_size=size),
            denied=Reason.NOT_MEMBER,
        )
        found = cut_page(answer.groups, answer.total, page, size)
        return [
            Group(
                group_id=group.group_id,
                name=group.name,
                avatar=group.avatar,
                owner_id=group.owner_id,
                description=group.description,
                member_count=group.member_count,
                max_members=group.max_members,
                status=group.status,
                created_at=group.created_at,
                updated_at=group.updated_at,
            )
            for group in found
        ], answer.total

    async def member_page(
        self, user_id: int, group_id: str, page: int, size: int
    ) -> tuple[list[Member], int]:
        """Return a page of the members, and how many there are, to a member of the group."""
        deadline = asyncio.get_running_loop().time() + self._pool.timeout
        # Not every server looks who is asking.
        if not await self.is_member(group_id, user_id):
            raise Refused(Reason.NOT_MEMBER)
        answer = await self._service.ask(
            lambda stub: stub.GetMemberList,
            pb.GetMemberListReq(group_id=group_id, user_id=user_id, page=page, page_size=size),
            denied=Reason.NOT_MEMBER,
            timeout=deadline - asyncio.get_running_loop().time(),
        )
        found = cut_page(answer.members, answer.total, page, size)
        return [
            Member(
                user_id=member.user_id,
                role=member.role,
                nickname=member.nickname,
                mute=member.mute,
                joined_at=member.joined_at,
                read_seq=member.read_seq,
            )
            for member in found
        ], answer.total

    async def is_member(self, group_id: str, user_id: int) -> bool:
        """Whether the user is in the group."""
        answer = await self._service.ask(
            lambda stub: stub.CheckMembership,
            pb.CheckMembershipReq(group_id=group_id, user_id=user_id),
            denied=Reason.NOT_MEMBER,
        )
        return answer.is_member

    async def update_read_seq(self, user_id: int, group_id: str, seq: int) -> None:
        """Move the user's read mark of the group."""
        await self._service.ask(
            lambda stub: stub.UpdateGroupReadSeq,
            pb.UpdateGroupReadSeqReq(group_id=group_id, user_id=user_id, read_seq=seq),
            denied=Reason.NOT_MEMBER,
        )

    async def why_denied(
        self, group_id: str, user_id: int, *, at_all: bool, timeout: float
    ) -> Reason:
        """Return why the user may not write to the group; `at_all`: mentioning everyone."""
        answer = await self._service.ask(
            lambda stub: stub.CheckMembership,
            pb.CheckMembershipReq(group_id=group_id, user_id=user_id),
            denied=Reason.NOT_MEMBER,
            timeout=timeout,
        )
        if not answer.is_member:
            return Reason.NOT_MEMBER
        if answer.member.mute:
            return Reason.MUTED
        if at_all and answer.member.role == MEMBER:
            return Reason.AT_ALL_DENIED
        return Reason.NOT_MEMBER
