"""Whom a user may write to, as the HTTP API shows it, and who is asked for it."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

T = TypeVar("T")


class Friend(msgspec.Struct, frozen=True, rename="camel"):
    """A friend of the user; `status` is 1 normal, 2 blocked, `created_at` in Unix seconds."""

    id: int
    friend_id: int
    remark: str
    status: int
    created_at: int


class Group(msgspec.Struct, frozen=True, rename="camel"):
    """A group that the user is in; `status` is 1 normal, 2 dismissed, times in Unix seconds."""

    group_id: str
    name: str
    avatar: str
    owner_id: int
    description: str
    member_count: int
    max_members: int
    status: int
    created_at: int
    updated_at: int


class Member(msgspec.Struct, frozen=True, rename="camel"):
    """A member of a group; `role` is 1 owner, 2 admin, 3 member, `joined_at` in Unix seconds."""

    user_id: int
    role: int
    nickname: str
    mute: int
    joined_at: int
    read_seq: int


class FriendPages(Protocol):
    """The Friend service, page by page; its methods raise Refused or Unavailable."""

    async def friend_page(self, user_id: int, page: int, size: int) -> tuple[list[Friend], int]:
        """Return a page of the user's friends, and how many there are; pages count from 1."""


class GroupPages(Protocol):
    """The Group service, likewise."""

    async def group_page(self, user_id: int, page: int, size: int) -> tuple[list[Group], int]:
        """Return a page of the user's groups, and how many there are."""

    async def member_page(
        self, user_id: int, group_id: str, page: int, size: int
    ) -> tuple[list[Member], int]:
        """Return a page of the members, and how many there are, to a member of the group."""


def cut_page(found: Sequence[T], total: int, page: int, size: int) -> Sequence[T]:
    """Return what belongs to a page, also of a server that ignores paging and tells of all."""
    start = (page - 1) * size
    ignored = len(found) > size or (page > 1 and len(found) >= total)
    return found[start : start + size] if ignored else found
