"""The client of the searching side of the Message service."""

from msgspec import UNSET

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.logic.archive import Conversation
from skyeim_ws.logic.ports import HistoryMessage
from skyeim_ws.rpc.messages import History, Page, history_message, newest, newest_first
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service


class ArchiveClient:
    """`archive.Archive` over a pool; its methods raise Refused or Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._service = Service(pool, MessageStub)

    async def search(self, user_id: int, keyword: str) -> list[HistoryMessage]:
        """Return the newest messages of the user's own conversations that have the keyword."""
        answer = await self._service.ask(
            lambda stub: stub.SearchMessage,
            pb.SearchMessageReq(user_id=user_id, keyword=keyword),
            denied=Reason.NOT_MEMBER,
        )
        return newest_first(answer.list)

    async def mentions(self, user_id: int, group_id: str, last_msg_id: int, limit: int) -> History:
        """Return messages that mention the user, newest first, and whether there are more.

        Their ids are below `last_msg_id`, if that is not 0. They are of one group, or of all the
        user's groups if `group_id` is "".
        """

        async def ask(before_id: int, size: int, left: float) -> Page:
            return await self._service.ask(
                lambda stub: stub.GetAtMeMessages,
                pb.GetAtMeMessagesReq(
                    user_id=user_id, group_id=group_id, last_msg_id=before_id, limit=size
                ),
                denied=Reason.NOT_MEMBER,
                timeout=left,
            )

        return await newest(ask, last_msg_id, limit, self._pool.timeout)

    async def conversations(
        self, user_id: int, before_id: int, limit: int
    ) -> tuple[list[Conversation], bool]:
        """Return conversations, newest first, and whether there are more.

        Their last messages have ids below `before_id`, if that is not 0. There are none where no
        server can tell.
        """
        answer = await self._service.ask_optional(
            lambda stub: stub.GetConversations,
            pb.GetConversationsReq(user_id=user_id, before_id=before_id, limit=limit),
            denied=Reason.NOT_MEMBER,
        )
        if answer is None:
            return [], False
        return [_conversation(each) for each in answer.list], answer.has_more


def _conversation(found: pb.Conversation) -> Conversation:
    return Conversation(
        last_message=history_message(found.last_message),
        unread_count=found.unread_count,
        peer_id=found.peer_id or UNSET,
        group_id=found.group_id or UNSET,
    )
