"""The Message service: checks the requests, and answers from the batch and the history."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import grpc
from sqlalchemy import Connection

from skyeim_ws.contract.names import MAX_BATCH
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageServicer
from skyeim_ws.services import conversations, history
from skyeim_ws.services.batch import Outcome, Stored, message_info, store
from skyeim_ws.services.db import Database
from skyeim_ws.services.errors import RefusedError, invalid, not_found
from skyeim_ws.services.events import Events
from skyeim_ws.services.send_rules import (
    MAX_GROUP_ID,
    Draft,
    draft_of,
    group_draft,
    private_draft,
)

MAX_MARKED = 10_000
"""msg_ids of one MarkAsRead."""

MAX_GROUPS = 1_000
"""Groups of one GetNewestSeqs."""

MAX_KEYWORD = 256
DEFAULT_LIMIT, MAX_LIMIT = 20, 500
MAX_CONVERSATIONS = 200
MAX_UNREAD_PAGE = 1_000
SYNC_LIMIT = 200
"""Messages of one GetGroupMessagesBySeq."""

LARGEST_ID = 2**63 - 1

_T = TypeVar("_T")


class MessageService(MessageServicer):
    """Serves `message.Message` from a database; the interceptor turns refusals into statuses."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    async def SendMessage(  # noqa: N802
        self, request: pb.SendMessageReq, context: object
    ) -> pb.SendMessageResp:
        """Store a private message."""
        draft, stored = await self._send(private_draft(request))
        return pb.SendMessageResp(
            id=stored.id,
            msg_id=stored.msg_id,
            created_at=stored.created_at,
            message=stored.first or message_info(draft, stored),
        )

    async def SendGroupMessage(  # noqa: N802
        self, request: pb.SendGroupMessageReq, context: object
    ) -> pb.SendGroupMessageResp:
        """Store a group message."""
        draft, stored = await self._send(group_draft(request))
        return pb.SendGroupMessageResp(
            id=stored.id,
            msg_id=stored.msg_id,
            created_at=stored.created_at,
            seq=stored.seq,
            message=stored.first or message_info(draft, stored),
        )

    async def SendBatch(  # noqa: N802
        self, request: pb.SendBatchReq, context: object
    ) -> pb.SendBatchResp:
        """Store many messages at once; each has its own result."""
        if len(request.items) > MAX_BATCH:
            raise invalid(f"a batch has at most {MAX_BATCH} items")
        outcomes = await self._store([draft_of(item) for item in request.items])
        return pb.SendBatchResp(results=_results(outcomes))

    async def GetMessageList(  # noqa: N802
        self, request: pb.GetMessageListReq, context: object
    ) -> pb.GetMessageListResp:
        """Return the private messages between two users, newest first."""
        _require_users(request.user_id, request.peer_id)
        infos, more = await self._read(
            history.private_page,
            request.user_id,
            request.peer_id,
            request.last_msg_id,
            _limit(request.limit),
        )
        return pb.GetMessageListResp(list=infos, has_more=more)

    async def GetGroupMessageList(  # noqa: N802
        self, request: pb.GetGroupMessageListReq, context: object
    ) -> pb.GetGroupMessageListResp:
        """Return the messages of a group, newest first; members only."""
        infos, more = await self._read_group(
            request.user_id,
            request.group_id,
            partial(
                history.group_page,
                group_id=request.group_id,
                before_id=request.last_msg_id,
                limit=_limit(request.limit),
            ),
        )
        return pb.GetGroupMessageListResp(list=infos, has_more=more)

    async def GetGroupMessagesBySeq(  # noqa: N802
        self, request: pb.GetGroupMessagesBySeqReq, context: object
    ) -> pb.GetGroupMessagesBySeqResp:
        """Return the messages of a group with a larger seq, ascending; members only."""
        infos, _ = await self._read_group(
            request.user_id,
            request.group_id,
            partial(
                history.group_since,
                group_id=request.group_id,
                # No seq is larger, and SQL has no unsigned numbers of 64 bits.
                seq=min(request.seq, LARGEST_ID),
                limit=SYNC_LIMIT,
            ),
        )
        return pb.GetGroupMessagesBySeqResp(list=infos)

    async def GetAtMeMessages(  # noqa: N802
        self, request: pb.GetAtMeMessagesReq, context: object
    ) -> pb.GetAtMeMessagesResp:
        """Return messages that mention the user or everyone, of a group or of all the user's."""
        query = partial(
            history.mentions_page,
            user_id=request.user_id,
            group_id=request.group_id,
            before_id=request.last_msg_id,
            limit=_limit(request.limit),
        )
        if request.group_id:
            infos, more = await self._read_group(request.user_id, request.group_id, query)
        else:
            _require_users(request.user_id)
            infos, more = await self._database.run_read(query)
        return pb.GetAtMeMessagesResp(list=infos, has_more=more)

    async def GetMessagesSince(  # noqa: N802
        self, request: pb.GetMessagesSinceReq, context: object
    ) -> pb.GetMessagesSinceResp:
        """Return the private messages to a user with a larger id, ascending."""
        _require_users(request.user_id)
        infos, more = await self._read(
            history.private_since, request.user_id, request.after_id, _limit(request.limit)
        )
        return pb.GetMessagesSinceResp(list=infos, has_more=more)

    async def GetConversations(  # noqa: N802
        self, request: pb.GetConversationsReq, context: object
    ) -> pb.GetConversationsResp:
        """Return the conversations of a user, newest first."""
        _require_users(request.user_id)
        limit = min(_limit(request.limit), MAX_CONVERSATIONS)
        found, more = await self._read(
            conversations.page, request.user_id, request.before_id, limit
        )
        return pb.GetConversationsResp(list=found, has_more=more)

    async def GetUnreadMessages(  # noqa: N802
        self, request: pb.GetUnreadMessagesReq, context: object
    ) -> pb.GetUnreadMessagesResp:
        """Return the unread private messages to a user, oldest first."""
        _require_users(request.user_id)
        infos = await self._read(history.unread, request.user_id, request.peer_id)
        return pb.GetUnreadMessagesResp(list=infos)

    async def GetUnreadPage(  # noqa: N802
        self, request: pb.GetUnreadPageReq, context: object
    ) -> pb.GetUnreadPageResp:
        """Return a page of the unread private messages to a user, oldest first."""
        _require_users(request.user_id)
        if request.skip < 0:
            raise invalid("skip must not be negative")
        limit = min(request.limit, MAX_UNREAD_PAGE) if request.limit > 0 else DEFAULT_LIMIT
        infos, more = await self._read(
            history.unread_page, request.user_id, request.after_id, request.skip, limit
        )
        return pb.GetUnreadPageResp(list=infos, has_more=more)

    async def GetSenders(  # noqa: N802
        self, request: pb.GetSendersReq, context: object
    ) -> pb.GetSendersResp:
        """Say who sent private messages to a user."""
        _require_users(request.user_id)
        if len(request.msg_ids) > MAX_MARKED:
            raise invalid(f"msg_ids has more than {MAX_MARKED} entries")
        found = await self._read(history.senders, request.user_id, list(request.msg_ids))
        return pb.GetSendersResp(
            list=[pb.SenderInfo(msg_id=msg_id, from_user_id=sender) for msg_id, sender in found]
        )

    async def GetNewestSeqs(  # noqa: N802
        self, request: pb.GetNewestSeqsReq, context: object
    ) -> pb.GetNewestSeqsResp:
        """Return the last seq of groups, for gateways."""
        if len(request.group_ids) > MAX_GROUPS:
            raise invalid(f"group_ids has more than {MAX_GROUPS} entries")
        found = await self._read(history.newest_seqs, list(request.group_ids))
        return pb.GetNewestSeqsResp(
            list=[pb.NewestSeq(group_id=group_id, seq=seq) for group_id, seq in found.items()]
        )

    async def FindMessage(  # noqa: N802
        self, request: pb.FindMessageReq, context: object
    ) -> pb.FindMessageResp:
        """Return the message with a msg_id, for operators."""
        found = await self._read(history.find, request.msg_id)
        if found is None:
            raise not_found("message_not_found", "no message has this msg_id")
        return pb.FindMessageResp(message=found)

    async def GetUnreadCount(  # noqa: N802
        self, request: pb.GetUnreadCountReq, context: object
    ) -> pb.GetUnreadCountResp:
        """Count the unread private messages to a user."""
        _require_users(request.user_id)
        count = await self._read(history.count_unread, request.user_id, request.peer_id)
        return pb.GetUnreadCountResp(count=count)

    async def MarkAsRead(  # noqa: N802
        self, request: pb.MarkAsReadReq, context: object
    ) -> pb.MarkAsReadResp:
        """Mark private messages to a user as read; count those that were not."""
        _require_users(request.user_id)
        msg_ids = list(request.msg_ids)
        if request.peer_id <= 0 and not msg_ids:
            raise invalid("peer_id or msg_ids must be given")
        if len(msg_ids) > MAX_MARKED:
            raise invalid(f"msg_ids has more than {MAX_MARKED} entries")
        user_id, peer_id = request.user_id, max(request.peer_id, 0)
        # Whoever has nothing to read, and asks all the same, keeps no writer waiting.
        if not await self._read(history.has_unread, user_id, peer_id):
            return pb.MarkAsReadResp()
        mark = partial(history.mark_read, user_id=user_id, peer_id=peer_id, msg_ids=msg_ids)
        return pb.MarkAsReadResp(count=await self._database.run_write(mark))

    async def SearchMessage(  # noqa: N802
        self, request: pb.SearchMessageReq, context: object
    ) -> pb.SearchMessageResp:
        """Return the newest messages of a user's own conversations that have the keyword."""
        _require_users(request.user_id)
        keyword = request.keyword.strip()
        if not 1 <= len(keyword) <= MAX_KEYWORD:
            raise invalid(f"keyword must have 1 to {MAX_KEYWORD} characters")
        infos = await self._read(history.search, request.user_id, keyword)
        return pb.SearchMessageResp(list=infos)

    async def _send(self, draft: Draft | RefusedError) -> tuple[Draft, Stored]:
        (outcome,) = await self._store([draft])
        if isinstance(draft, RefusedError):
            raise draft
        if isinstance(outcome, RefusedError):
            raise outcome
        return draft, outcome

    async def _store(self, drafts: Sequence[Draft | RefusedError]) -> list[Outcome]:
        outcomes = await store(self._database, drafts)
        last_seqs: dict[str, int] = {}
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if isinstance(draft, Draft) and isinstance(outcome, Stored) and outcome.seq:
                last_seqs[draft.group_id] = max(outcome.seq, last_seqs.get(draft.group_id, 0))
        if last_seqs:
            self._events.reached(last_seqs)
        return outcomes

    async def _read(self, query: Callable[..., _T], *arguments: int | str | list[str]) -> _T:
        return await self._database.run_read(lambda connection: query(connection, *arguments))

    async def _read_group(
        self, user_id: int, group_id: str, query: Callable[[Connection], _T]
    ) -> _T:
        _require_users(user_id)
        if not 1 <= len(group_id) <= MAX_GROUP_ID:
            raise invalid(f"group_id must have 1 to {MAX_GROUP_ID} characters")

        def work(connection: Connection) -> _T:
            history.require_member(connection, group_id, user_id)
            return query(connection)

        return await self._database.run_read(work)


def _results(outcomes: Sequence[Outcome]) -> list[pb.SendResult]:
    """Return the results of a batch; when it gets too long, without what was stored earlier."""
    left = history.REPLY_BYTES
    results = []
    for outcome in outcomes:
        if isinstance(outcome, Stored) and outcome.first is not None:
            left -= outcome.first.ByteSize()
        results.append(_result(outcome, tell=left >= 0))
    return results


def _result(outcome: Outcome, *, tell: bool) -> pb.SendResult:
    if isinstance(outcome, RefusedError):
        return pb.SendResult(code=_number(outcome.code), reason=outcome.reason)
    return pb.SendResult(
        id=outcome.id,
        msg_id=outcome.msg_id,
        created_at=outcome.created_at,
        seq=outcome.seq,
        duplicate=outcome.first is not None,
        message=outcome.first if tell else None,
    )


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number


def _require_users(*user_ids: int) -> None:
    if min(user_ids) <= 0:
        raise invalid("user ids must be positive")


def _limit(wanted: int) -> int:
    return min(wanted, MAX_LIMIT) if wanted > 0 else DEFAULT_LIMIT
