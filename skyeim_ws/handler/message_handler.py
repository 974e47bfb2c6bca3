"""The API of the clients over HTTP: what they missed, what was before, what they have read."""

from collections.abc import Sequence
from typing import Any, TypeVar

from skyeim_ws.conn.decoding import Decoding
from skyeim_ws.conn.messages import GroupRead, Inbound, Read
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Text
from skyeim_ws.handler.base import UserHandler
from skyeim_ws.handler.body import MalformedBodyError, decode
from skyeim_ws.logic.ports import Members, Messages, Refused
from skyeim_ws.logic.receipts import Receipts

MAX_SYNC = 200
DEFAULT_OFFLINE, MAX_OFFLINE = 100, 200
DEFAULT_PAGE, MAX_PAGE = 20, 500

T = TypeVar("T", bound=Inbound)

_READ, _GROUP_READ = Decoding(Read), Decoding(GroupRead)


class MessageHandler(UserHandler):
    """A question that the Message service answers."""

    def initialize(self, secrets: Sequence[str], messages: Messages) -> None:  # type: ignore[override]
        """Take the service."""
        super().initialize(secrets)
        self.messages = messages

    async def get(self) -> None:
        """Answer."""
        await self.respond()


class GroupMessageHandler(MessageHandler):
    """A question about the messages of a group, for its members."""

    def initialize(  # type: ignore[override]
        self, secrets: Sequence[str], messages: Messages, members: Members
    ) -> None:
        """Take the service, and who is in which group."""
        super().initialize(secrets, messages)
        self.members = members

    async def group_id(self) -> str:
        """Return the group that is asked about; raises Refused if the user is not in it.

        Not every Message service looks who is asking.
        """
        group_id = self.text("groupId")
        await self.members.require_member(group_id, self.user_id)
        return group_id


class GroupSyncHandler(GroupMessageHandler):
    """`GET /message/group/sync?groupId&seq&limit`: what came after a seq, ascending."""

    async def ask(self) -> dict[str, Any]:
        """Return the messages and whether there are more."""
        seq = self.number("seq", 0, 0)
        limit = self.limit(MAX_SYNC, MAX_SYNC)
        found = await self.messages.group_since(self.user_id, await self.group_id(), seq)
        return {"list": found[:limit], "hasMore": len(found) > limit or len(found) >= MAX_SYNC}


class OfflineHandler(MessageHandler):
    """`GET /message/offline?skip&limit`: unread private messages, oldest first."""

    async def ask(self) -> dict[str, Any]:
        """Return a page, the total and whether there are more."""
        skip = self.number("skip", 0, 0)
        limit = self.limit(DEFAULT_OFFLINE, MAX_OFFLINE)
        total = await self.messages.unread_count(self.user_id)
        page, more = await self.messages.unread_page(self.user_id, limit, skip=skip)
        # Some may have come in between.
        return {"list": page, "total": max(total, skip + len(page) if page else 0), "hasMore": more}


class HistoryHandler(MessageHandler):
    """`GET /message/history?peerId&lastMsgId&limit`: a conversation, newest first."""

    async def ask(self) -> dict[str, Any]:
        """Return a page and whether there is more."""
        peer_id = self.number("peerId", 0, 1)
        if not peer_id:
            raise Refused(Reason.INVALID, Text.FIELD(name="peerId"))
        last_msg_id = self.number("lastMsgId", 0, 0)
        limit = self.limit(DEFAULT_PAGE, MAX_PAGE)
        found, more = await self.messages.history(self.user_id, peer_id, last_msg_id, limit)
        return {"list": found, "hasMore": more}


class GroupHistoryHandler(GroupMessageHandler):
    """`GET /message/group/history?groupId&lastMsgId&limit`: a group, newest first."""

    async def ask(self) -> dict[str, Any]:
        """Return a page and whether there is more."""
        last_msg_id = self.number("lastMsgId", 0, 0)
        limit = self.limit(DEFAULT_PAGE, MAX_PAGE)
        group_id = await self.group_id()
        found, more = await self.messages.group_history(self.user_id, group_id, last_msg_id, limit)
        return {"list": found, "hasMore": more}


class UnreadCountHandler(MessageHandler):
    """`GET /message/unread/count?peerId`: from a peer, or from all."""

    async def ask(self) -> dict[str, Any]:
        """Return the number."""
        peer_id = self.number("peerId", 0, 0)
        return {"count": await self.messages.unread_count(self.user_id, peer_id)}


class ReceiptHandler(UserHandler):
    """A read mark that a user sets."""

    def initialize(self, secrets: Sequence[str], receipts: Receipts) -> None:  # type: ignore[override]
        """Take the receipts, which the same frames over WebSocket use as well."""
        super().initialize(secrets)
        self.receipts = receipts

    async def post(self) -> None:
        """Answer."""
        await self.respond()


class ReadHandler(ReceiptHandler):
    """`POST /message/read`: messages of a peer, all if none is named."""

    async def ask(self) -> dict[str, Any]:
        """Return how many were unread."""
        data = _body(self.request.body, _READ)
        count = await self.receipts.read_elsewhere(self.user_id, data.peer_id, data.msg_ids or ())
        return {"count": count}


class GroupReadHandler(ReceiptHandler):
    """`POST /message/group/read`: the read mark of a group."""

    async def ask(self) -> dict[str, Any]:
        """Move the mark."""
        data = _body(self.request.body, _GROUP_READ)
        await self.receipts.mark_group_read(self.user_id, data.group_id, data.read_seq)
        return {"success": True}


def _body(body: bytes, decoding: Decoding[T]) -> T:
    try:
        return decode(body, decoding)
    except MalformedBodyError as error:
        raise Refused(Reason.INVALID, error.phrase) from error
