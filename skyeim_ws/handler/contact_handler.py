"""Whom a user may write to, over HTTP: friends, groups, members of a group; page by page."""

from collections.abc import Sequence
from typing import Any

from skyeim_ws.handler.base import UserHandler
from skyeim_ws.logic.contacts import FriendPages, GroupPages

MAX_PAGE = 1_000_000
DEFAULT_SIZE = 20
MAX_SIZE = 100
"""Existing servers give no more on a page; so pages of this size are the same everywhere."""


class ContactHandler(UserHandler):
    """A question that the Friend or the Group service answers."""

    def initialize(  # type: ignore[override]
        self, secrets: Sequence[str], friends: FriendPages, groups: GroupPages
    ) -> None:
        """Take the services."""
        super().initialize(secrets)
        self.friends = friends
        self.groups = groups

    async def get(self) -> None:
        """Answer."""
        await self.respond()

    def page(self) -> tuple[int, int]:
        """Return which page is asked for, and of what size; raises Refused."""
        page = self.number("page", 1, 1, MAX_PAGE)
        return page, self.limit(DEFAULT_SIZE, MAX_SIZE, name="pageSize")


class FriendListHandler(ContactHandler):
    """`GET /friend/list?page&pageSize`: the user's friends."""

    async def ask(self) -> dict[str, Any]:
        """Return a page and the number of all."""
        found, total = await self.friends.friend_page(self.user_id, *self.page())
        return {"list": found, "total": total}


class GroupListHandler(ContactHandler):
    """`GET /group/list?page&pageSize`: the user's groups."""

    async def ask(self) -> dict[str, Any]:
        """Return a page and the number of all."""
        found, total = await self.groups.group_page(self.user_id, *self.page())
        return {"list": found, "total": total}


class MemberListHandler(ContactHandler):
    """`GET /group/member/list?groupId&page&pageSize`: the members, to one of them."""

    async def ask(self) -> dict[str, Any]:
        """Return a page and the number of all."""
        group_id = self.text("groupId")
        found, total = await self.groups.member_page(self.user_id, group_id, *self.page())
        return {"list": found, "total": total}
