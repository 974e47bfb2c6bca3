"""Sending: check, store, acknowledge, then deliver; a msgId is stored and answered once."""

from collections import OrderedDict

import msgspec
from msgspec import UNSET

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.codes import Reason
from skyeim_ws.conn.group_router import GroupFrame, GroupRouter
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.types import (
    Chat,
    ChatMessage,
    GroupChat,
    GroupMessage,
    encode_data,
    frame,
    new_msg_id,
)
from skyeim_ws.logic.answers import failed_frame, refuse, sent_frame
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.ports import MessageWriter, Outgoing, Refused, SendOutcome, Stored
from skyeim_ws.logic.reach import Reach
from skyeim_ws.logic.requests import Requests

_Key = tuple[int, str]  # sender, msgId


class _Attempt(msgspec.Struct):
    """A message that is being stored, and whom to answer: one client per attempt to send it."""

    clients: list[Client]


class Sending:
    """Handles `chat` and `group_chat`.

    Nothing here waits: the writer calls back when a batch is stored, in the order of submission.
    """

    def __init__(
        self,
        *,
        reach: Reach,
        writer: MessageWriter,
        delivery: PrivateDelivery,
        router: GroupRouter,
        requests: Requests,
        recent_acks: int,
    ) -> None:
        self._reach = reach
        self._writer = writer
        self._delivery = delivery
        self._router = router
        self._requests = requests
        self._under_way: dict[_Key, _Attempt] = {}
        # What was answered lately: a retry is answered from here and routes nothing again.
        self._answered: OrderedDict[_Key, Stored] = OrderedDict()
        self._recent_acks = recent_acks

    @property
    def under_way(self) -> int:
        """Count the messages that are being stored."""
        return len(self._under_way)

    def chat(self, client: Client, data: Chat) -> None:
        """Take a private message."""
        self._submit(
            client,
            Outgoing(
                msg_id=data.msg_id or new_msg_id(),
                from_user_id=client.user_id,
                to_user_id=data.to_user_id,
                content=data.content,
                content_type=data.content_type,
            ),
        )

    def group_chat(self, client: Client, data: GroupChat) -> None:
        """Take a group message."""
        self._submit(
            client,
            Outgoing(
                msg_id=data.msg_id or new_msg_id(),
                from_user_id=client.user_id,
                group_id=data.group_id,
                content=data.content,
                content_type=data.content_type,
                at_user_ids=tuple(data.at_user_ids or ()),
            ),
        )

    def _submit(self, client: Client, message: Outgoing) -> None:
        key = (message.from_user_id, message.msg_id)
        if (stored := self._answered.get(key)) is not None:
            client.send(sent_frame(stored))
            return
        if not self._requests.admit(client):
            self._busy(client, message)
            return
        if (attempt := self._under_way.get(key)) is not None:
            attempt.clients.append(client)
            return
        # The place in the group's queue is taken first: a message that is stored is routed.
        reserved = not message.group_id or self._router.reserve(message.group_id)
        if reserved and self._writer.submit(message, self._settle):
            self._under_way[key] = _Attempt([client])
            return
        if reserved and message.group_id:
            self._router.release(message.group_id)
        self._requests.done(client)
        client.context.stats.busy += 1
        self._busy(client, message)

    def _busy(self, client: Client, message: Outgoing) -> None:
        kind = "group_chat" if message.group_id else "chat"
        refuse(client, kind, Reason.BUSY, msg_id=message.msg_id)

    def _settle(self, message: Outgoing, outcome: SendOutcome) -> None:
        """Answer the sender, then deliver."""
        attempt = self._under_way.pop((message.from_user_id, message.msg_id))
        if isinstance(outcome, Stored):
            answer = sent_frame(outcome)
        elif isinstance(outcome, Refused):
            answer = failed_frame(message.msg_id, outcome.reason, str(outcome))
        else:
            answer = failed_frame(message.msg_id, Reason.RPC_ERROR)
        for client in attempt.clients:
            self._requests.done(client)
            # The sender may have reconnected meanwhile, and waits for this on the new connection.
            self._reach.send(message.from_user_id, answer)
        if isinstance(outcome, Stored):
            self._remember(message, outcome)
            self._deliver(message, outcome)
        elif message.group_id:
            self._router.release(message.group_id)

    def _remember(self, message: Outgoing, stored: Stored) -> None:
        self._answered[message.from_user_id, message.msg_id] = stored
        if len(self._answered) > self._recent_acks:
            self._answered.popitem(last=False)

    def _deliver(self, message: Outgoing, stored: Stored) -> None:
        """Route a stored message; also one that an earlier attempt stored elsewhere.

        Whoever stored it may have died before routing it; receivers drop duplicates by msgId.
        """
        if message.group_id:
            data = GroupMessage(
                id=stored.id,
                msg_id=stored.msg_id,
                from_user_id=message.from_user_id,
                group_id=message.group_id,
                content=message.content,
                content_type=message.content_type,
                created_at=stored.created_at,
                seq=stored.seq,
                at_user_ids=message.at_user_ids or UNSET,
            )
            item = GroupFrame(frame("group_chat", data), message.from_user_id, stored.seq)
            self._reach.route(message.group_id, item)
            return
        data_bytes = encode_data(
            ChatMessage(
                id=stored.id,
                msg_id=stored.msg_id,
                from_user_id=message.from_user_id,
                to_user_id=message.to_user_id,
                content=message.content,
                content_type=message.content_type,
                created_at=stored.created_at,
            )
        )
        self._delivery.deliver(
            message.to_user_id,
            Delivery(
                data=data_bytes,
                id=stored.id,
                msg_id=stored.msg_id,
                from_user_id=message.from_user_id,
            ),
        )
