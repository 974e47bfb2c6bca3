"""What a user looks for in the stored messages, and who is asked for it."""

from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from skyeim_ws.logic.ports import HistoryMessage


class Conversation(msgspec.Struct, frozen=True, rename="camel"):
    """A conversation of the user, with a peer or of a group; `unread_count` is of its messages."""

    last_message: HistoryMessage
    unread_count: int
    peer_id: int | UnsetType = UNSET
    group_id: str | UnsetType = UNSET


class Archive(Protocol):
    """The searching side of the Message service; its methods raise Refused or Unavailable."""

    async def search(self, user_id: int, keyword: str) -> list[HistoryMessage]:
        """Return the newest messages of the user's own conversations that have the keyword."""

    async def mentions(
        self, user_id: int, group_id: str, last_msg_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        """Return messages that mention the user, newest first, and whether there are more.

        Their ids are below `last_msg_id`, if that is not 0. They are of one group, or of all the
        user's groups if `group_id` is "".
        """

    async def conversations(
        self, user_id: int, before_id: int, limit: int
    ) -> tuple[list[Conversation], bool]:
        """Return conversations, newest first, and whether there are more.

        Their last messages have ids below `before_id`, if that is not 0. There are none where no
        server can tell.
        """
