"""What a user looks for over HTTP: words, mentions, the list of conversations."""

from collections.abc import Sequence
from typing import Any

from skyeim_ws.handler.base import UserHandler
from skyeim_ws.logic.archive import Archive
from skyeim_ws.logic.ports import Members, Refused

DEFAULT_PAGE, MAX_PAGE = 20, 200
MAX_KEYWORD = 256


class ArchiveHandler(UserHandler):
    """A question that is asked of the stored messages."""

    def initialize(  # type: ignore[override]
        self, secrets: Sequence[str], archive: Archive, members: Members
    ) -> None:
        """Take the archive, and who is in which group."""
        super().initialize(secrets)
        self.archive = archive
        self.members = members

    async def get(self) -> None:
        """Answer."""
        await self.respond()


class SearchHandler(ArchiveHandler):
    """`GET /message/search?keyword`: messages of the user's own conversations, newest first."""

    async def ask(self) -> dict[str, Any]:
        """Return the messages."""
        keyword = self.text("keyword", max_length=MAX_KEYWORD)
        return {"list": await self.archive.search(self.user_id, keyword)}


class MentionsHandler(ArchiveHandler):
    """`GET /message/at-me?groupId&lastMsgId&limit`: messages that mention the user."""

    async def ask(self) -> dict[str, Any]:
        """Return a page and whether there is more."""
        group_id = self.text("groupId") if self.get_query_argument("groupId", "") else ""
        if group_id:
            await self.members.require_member(group_id, self.user_id)
        last_msg_id = self.number("lastMsgId", 0, 0)
        limit = self.limit(DEFAULT_PAGE, MAX_PAGE)
        found, more = await self.archive.mentions(self.user_id, group_id, last_msg_id, limit)
        foreign = {each for each in {m.group_id for m in found} if not await self._is_in(each)}
        return {"list": [m for m in found if m.group_id not in foreign], "hasMore": more}

    async def _is_in(self, group_id: str) -> bool:
        """Whether the user is in a group: not every service looks who is asking."""
        try:
            await self.members.require_member(group_id, self.user_id)
        except Refused:
            return False
        return True


class ConversationsHandler(ArchiveHandler):
    """`GET /message/conversations?limit&before`: with whom and where the user chats."""

    async def ask(self) -> dict[str, Any]:
        """Return a page and whether there is more."""
        before_id = self.number("before", 0, 0)
        limit = self.limit(DEFAULT_PAGE, MAX_PAGE)
        found, more = await self.archive.conversations(self.user_id, before_id, limit)
        return {"list": found, "hasMore": more}
