"""What an earlier call stored under a msgId: told by the server, or looked up there."""

from enum import Enum, auto
from typing import NamedTuple

import structlog
from grpc import StatusCode
from msgspec.structs import replace

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.logic.outgoing import Outgoing, Stored
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc.errors import RpcFailed
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service

PAGE = 100
PAGES = 5
"""Pages, from the newest on, in which a repeated message is looked for."""

log = structlog.get_logger()


class Why(Enum):
    """Why an answer of the Message service does not say enough."""

    DENIED = auto()
    """The sender may not do this, but for which reason?"""
    FAILED = auto()
    """Something is wrong, be it only that the msgId is stored already."""
    REPEATED = auto()
    """The msgId is stored already, but for which message?"""


class NotStored(Unavailable):
    """A message was refused in a way that a repeat would be, and is not one."""


class Unclear(NamedTuple):
    """Such an answer; `stored_id` is 0 unless it was told."""

    why: Why
    stored_id: int = 0


FAILED = Unclear(Why.FAILED)


def settle(message: Outgoing, first: pb.MessageInfo) -> Stored | Refused:
    """Return what a message gets whose msgId is that of a stored one.

    A repeat has the sender and the receiver, or group, of the first; then the first counts,
    whatever the repeat says. Anything else would be a message that nobody has checked.
    """
    stored = Outgoing(
        msg_id=message.msg_id,
        from_user_id=first.from_user_id,
        # Existing databases may have a receiver beside a group, which says nothing there.
        to_user_id=0 if first.group_id else first.to_user_id,
        group_id=first.group_id,
        content=first.content,
        content_type=first.content_type,
        at_user_ids=tuple(first.at_user_ids),
        # Those of this attempt: what is stored knows nothing of them.
        since=message.since,
        span=message.span,
    )
    if stored.key != message.key:
        return Refused(Reason.MSG_ID_CONFLICT)
    return Stored(first.id, message.msg_id, first.created_at, first.seq, stored)


class Repeats:
    """Finds what is stored under a msgId in the conversation for which it is used.

    Existing servers refuse a repeat, in a way that any trouble has too. But one may as well answer
    it as if it were new, and say nothing; so an answer of a server that does not tell repeats is
    compared with what is stored, until the server was seen to refuse one (`refused`).
    `newest_id` is the largest id that was answered.
    """

    def __init__(self, pool: Pool) -> None:
        self.newest_id = 0
        self._service = Service(pool, MessageStub)
        # Of private messages (False), of groups (True).
        self.refused: set[bool] = set()

    def seen(self, stored_id: int) -> None:
        """Note the id of a stored message."""
        self.newest_id = max(self.newest_id, stored_id)

    async def check(
        self, message: Outgoing, answer: pb.SendMessageResp | pb.SendGroupMessageResp, left: float
    ) -> Stored | Refused:
        """Return what a single call has stored, within `left` seconds; raises as `look_up`."""
        seq = answer.seq if isinstance(answer, pb.SendGroupMessageResp) else 0
        new = Stored(answer.id, message.msg_id, answer.created_at, seq)
        if answer.HasField("message"):
            return settle(message, answer.message)
        kind = bool(message.group_id)
        if kind in self.refused:
            return new
        try:
            first, _ = await self._find(message, left, answer.id)
        except RpcFailed as failed:
            if failed.code is not StatusCode.UNIMPLEMENTED:
                raise
            # A server that cannot be asked; none of the existing ones is so.
            self.refused.add(kind)
            log.warning("repeats_not_checked", groups=kind)
            return new
        if first is None:
            return Refused(Reason.MSG_ID_CONFLICT)
        settled = settle(message, first)
        # What says the same may be new: nothing else tells, and it must not pass for a repeat.
        if isinstance(settled, Stored) and settled.first == message:
            return replace(settled, first=None)
        return settled

    async def look_up(
        self, message: Outgoing, unclear: Unclear, left: float, newest_id: int
    ) -> Stored | Refused | Unavailable:
        """Return what a message gets that was refused, perhaps as a repeat, within `left` seconds.

        `newest_id` is what it was when the message was sent. Raises RpcFailed.
        """
        first, all_seen = await self._find(message, left, unclear.stored_id)
        if first is None:
            if unclear.why is Why.REPEATED and all_seen:
                return Refused(Reason.MSG_ID_CONFLICT)
            return NotStored("the message is not stored")
        if first.id <= newest_id:
            # An earlier call has stored it, so it was the repeat that was refused.
            self.refused.add(bool(message.group_id))
        return settle(message, first)

    async def _find(
        self, message: Outgoing, left: float, stored_id: int = 0
    ) -> tuple[pb.MessageInfo | None, bool]:
        """Return what the conversation has under the msgId; if nothing, whether that is certain.

        With a `stored_id` it is the message of this id or none.
        """
        before_id, pages, limit = (stored_id + 1, 1, 1) if stored_id else (0, PAGES, PAGE)
        for _ in range(pages):
            answer = await self._page(message, before_id, limit, left)
            for info in answer.list:
                if info.msg_id == message.msg_id:
                    return info, True
            if stored_id or not answer.has_more or not answer.list:
                return None, True
            before_id = min(info.id for info in answer.list)
        return None, False

    async def _page(
        self, message: Outgoing, before_id: int, limit: int, left: float
    ) -> pb.GetMessageListResp | pb.GetGroupMessageListResp:
        user_id = message.from_user_id
        if message.group_id:
            of_group = pb.GetGroupMessageListReq(
                user_id=user_id, group_id=message.group_id, last_msg_id=before_id, limit=limit
            )
            group = await self._service.call(
                lambda stub: stub.GetGroupMessageList, of_group, timeout=left, optional=True
            )
            return group
        of_peer = pb.GetMessageListReq(
            user_id=user_id, peer_id=message.to_user_id, last_msg_id=before_id, limit=limit
        )
        peer = await self._service.call(
            lambda stub: stub.GetMessageList, of_peer, timeout=left, optional=True
        )
        return peer
