"""The client of the reading side of the Message service."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.logic.ports import HistoryMessage
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service
from skyeim_ws.rpc.unread import Peers, all_unread, find_senders

PAGE = 100
"""Messages of one call; existing servers take a larger limit for none, and answer with 20."""

History = tuple[list[HistoryMessage], bool]
"""Messages, and whether there are more."""

Page = pb.GetMessageListResp | pb.GetGroupMessageListResp | pb.GetAtMeMessagesResp
Ask = Callable[[int, int, float], Awaitable[Page]]
"""Gets a page: the id before which it ends (0: none), its size, and the seconds left."""


class MessageClient:
    """`ports.Messages` over a pool; its methods raise Refused or Unavailable.

    `peers` gives the friends of a user: with a server that cannot page what is unread, they are who
    it may be from.
    """

    def __init__(self, pool: Pool, peers: Peers) -> None:
        self._pool = pool
        self._peers = peers
        self._service = Service(pool, MessageStub)

    async def mark_read(self, user_id: int, peer_id: int, msg_ids: Sequence[str]) -> int:
        """Mark messages from the peer to the user as read, all if none is named; their count."""
        answer = await self._service.ask(
            lambda stub: stub.MarkAsRead,
            pb.MarkAsReadReq(user_id=user_id, peer_id=peer_id, msg_ids=msg_ids),
            denied=Reason.NOT_FRIEND,
        )
        return answer.count

    async def unread_page(
        self, user_id: int, limit: int, *, after_id: int = 0, skip: int = 0
    ) -> History:
        """Return unread private messages to the user, oldest first, and if more are.

        They have ids above `after_id`; the first `skip` of them are left out.
        """
        answer = await self._service.ask_optional(
            lambda stub: stub.GetUnreadPage,
            pb.GetUnreadPageReq(user_id=user_id, after_id=after_id, skip=skip, limit=limit),
            denied=Reason.NOT_FRIEND,
        )
        if answer is not None:
            return list(map(history_message, answer.list)), answer.has_more
        found = [m for m in await all_unread(self, self._peers, user_id) if m.id > after_id]
        return found[skip : skip + limit], len(found) > skip + limit

    async def senders(
        self, user_id: int, msg_ids: Sequence[str], peer_id: int = 0
    ) -> dict[str, int]:
        """Return who sent which of these private messages to the user, as far as it is known.

        `peer_id` says from whom they should be, for servers that cannot look them up.
        """
        answer = await self._service.ask_optional(
            lambda stub: stub.GetSenders,
            pb.GetSendersReq(user_id=user_id, msg_ids=msg_ids),
            denied=Reason.NOT_FRIEND,
        )
        if answer is not None:
            return {each.msg_id: each.from_user_id for each in answer.list}
        return await find_senders(self, self._peers, user_id, msg_ids, peer_id)

    async def unread(self, user_id: int, peer_id: int = 0) -> list[HistoryMessage]:
        """Return unread private messages to the user, oldest first; from anyone if peer 0.

        A server may tell of a part of them.
        """
        answer = await self._service.ask(
            lambda stub: stub.GetUnreadMessages,
            pb.GetUnreadMessagesReq(user_id=user_id, peer_id=peer_id),
            denied=Reason.NOT_FRIEND,
        )
        return sorted(map(history_message, answer.list), key=lambda message: message.id)

    async def unread_count(self, user_id: int, peer_id: int = 0) -> int:
        """Count the unread private messages to the user; from anyone if peer 0."""
        answer = await self._service.ask(
            lambda stub: stub.GetUnreadCount,
            pb.GetUnreadCountReq(user_id=user_id, peer_id=peer_id),
            denied=Reason.NOT_FRIEND,
        )
        return answer.count

    async def group_since(self, user_id: int, group_id: str, seq: int) -> list[HistoryMessage]:
        """Return at most 200 messages of the group with a larger seq, ascending."""
        answer = await self._service.ask(
            lambda stub: stub.GetGroupMessagesBySeq,
            pb.GetGroupMessagesBySeqReq(user_id=user_id, group_id=group_id, seq=seq),
            denied=Reason.NOT_MEMBER,
        )
        return sorted(map(history_message, answer.list), key=lambda message: message.seq)

    async def history(self, user_id: int, peer_id: int, last_msg_id: int, limit: int) -> History:
        """Return private messages with an id below `last_msg_id`, newest first, and if more are.

        0 as `last_msg_id` begins with the newest.
        """

        async def ask(before_id: int, size: int, left: float) -> Page:
            return await self._service.ask(
                lambda stub: stub.GetMessageList,
                pb.GetMessageListReq(
                    user_id=user_id, peer_id=peer_id, last_msg_id=before_id, limit=size
                ),
                denied=Reason.NOT_FRIEND,
                timeout=left,
            )

        return await newest(ask, last_msg_id, limit, self._pool.timeout)

    async def group_history(
        self, user_id: int, group_id: str, last_msg_id: int, limit: int
    ) -> History:
        """Return messages of a group as `history` does."""

        async def ask(before_id: int, size: int, left: float) -> Page:
            return await self._service.ask(
                lambda stub: stub.GetGroupMessageList,
                pb.GetGroupMessageListReq(
                    user_id=user_id, group_id=group_id, last_msg_id=before_id, limit=size
                ),
                denied=Reason.NOT_MEMBER,
                timeout=left,
            )

        return await newest(ask, last_msg_id, limit, self._pool.timeout)

    async def newest_seqs(self, group_ids: Sequence[str]) -> dict[str, int] | None:
        """Return the largest seq of each group that has messages; None if no server can say."""
        answer = await self._service.ask_optional(
            lambda stub: stub.GetNewestSeqs,
            pb.GetNewestSeqsReq(group_ids=group_ids),
            denied=Reason.NOT_MEMBER,
        )
        return None if answer is None else {each.group_id: each.seq for each in answer.list}

    async def since(self, user_id: int, after_id: int, limit: int) -> History:
        """Return private messages to the user with a larger id, ascending, and if more are.

        From a server that cannot tell, only those of them that are unread.
        """
        answer = await self._service.ask_optional(
            lambda stub: stub.GetMessagesSince,
            pb.GetMessagesSinceReq(user_id=user_id, after_id=after_id, limit=limit),
            denied=Reason.NOT_FRIEND,
        )
        if answer is not None:
            return list(map(history_message, answer.list)), answer.has_more
        return await self.unread_page(user_id, limit, after_id=after_id)


async def newest(ask: Ask, before_id: int, limit: int, timeout: float) -> History:
    """Return messages below an id (0: all), newest first, from as many pages as it takes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    found: list[HistoryMessage] = []
    more = True
    while more and len(found) < limit:
        answer = await ask(before_id, min(limit - len(found), PAGE), deadline - loop.time())
        page = newest_first(answer.list)
        if before_id:  # a server that ignores it brings the same messages again
            page = [message for message in page if message.id < before_id]
        found += page
        more = answer.has_more and bool(page)
        before_id = found[-1].id if found else before_id
    return found, more


def newest_first(found: Iterable[pb.MessageInfo]) -> list[HistoryMessage]:
    """Return the messages by id, the largest first."""
    return sorted(map(history_message, found), key=lambda message: message.id, reverse=True)


def history_message(message: pb.MessageInfo) -> HistoryMessage:
    """Return a message as the HTTP API shows it."""
    return HistoryMessage(
        id=message.id,
        msg_id=message.msg_id,
        from_user_id=message.from_user_id,
        to_user_id=message.to_user_id,
        chat_type=message.chat_type,
        group_id=message.group_id,
        content=message.content,
        content_type=message.content_type,
        status=message.status,
        created_at=message.created_at,
        seq=message.seq,
        at_user_ids=list(message.at_user_ids),
    )
