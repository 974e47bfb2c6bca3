"""The sync API of the clients: what they missed, over HTTP."""

from collections.abc import Sequence
from typing import Any

from skyeim_ws.handler.base import UserHandler
from skyeim_ws.logic.ports import Messages

MAX_SYNC = 200
MAX_PAGE = 100


class MessageHandler(UserHandler):
    """A call that the Message service answers."""

    def initialize(self, secrets: Sequence[str], messages: Messages) -> None:  # type: ignore[override]
        """Take the service."""
        super().initialize(secrets)
        self.messages = messages

    async def get(self) -> None:
        """Answer."""
        await self.respond()


class GroupSyncHandler(MessageHandler):
    """`GET /message/group/sync?groupId&seq&limit`: what came after a seq, ascending."""

    async def ask(self) -> dict[str, Any]:
        """Return the messages and whether there are more."""
        group_id = self.text("groupId")
        seq = self.number("seq", 0, 0)
        limit = self.number("limit", MAX_SYNC, 1, MAX_SYNC)
        found = await self.messages.group_since(self.user_id, group_id, seq)
        return {"list": found[:limit], "hasMore": len(found) > limit or len(found) >= MAX_SYNC}


class OfflineHandler(MessageHandler):
    """`GET /message/offline?skip&limit`: unread private messages, oldest first."""

    async def ask(self) -> dict[str, Any]:
        """Return a page, the total and whether there are more."""
        skip = self.number("skip", 0, 0)
        limit = self.number("limit", 20, 1, MAX_PAGE)
        unread = await self.messages.unread(self.user_id)
        page = unread[skip : skip + limit]
        return {
            "list": page,
            "total": len(unread),
            "hasMore": skip + len(page) < len(unread),
        }
