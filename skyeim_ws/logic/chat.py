"""Sending: check, store, acknowledge, then deliver; a msgId is stored and answered once."""

from collections import OrderedDict, deque
from functools import partial

import msgspec
from msgspec import UNSET

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.group_router import GroupFrame, GroupRouter
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import (
    Chat,
    ChatMessage,
    GroupChat,
    GroupMessage,
    encode_data,
    frame,
    new_msg_id,
)
from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.answers import failed_frame, refuse, sent_frame
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.ports import (
    MessageWriter,
    Outgoing,
    Refused,
    SendOutcome,
    Stored,
    Unavailable,
)
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.user_router import UserRouter

_Key = tuple[int, str]  # sender, msgId

_MAX_BEHIND = 1000
"""Acks that one sender waits for and frames behind them; beyond it the order is given up."""


class _Attempt(msgspec.Struct):
    """A message that is being stored, and whom to answer: one client per attempt to send it."""

    clients: list[Client]
    waiting: bool = False
    """Whether it is stored, and its sender waits until it is kept."""


class Sending:
    """Handles `chat` and `group_chat`.

    Nothing here waits: the writer calls back when a batch is stored, in the order of submission.
    """

    def __init__(
        self,
        *,
        user_router: UserRouter,
        writer: MessageWriter,
        delivery: PrivateDelivery,
        router: GroupRouter,
        requests: Requests,
        recent_acks: int,
    ) -> None:
        self._user_router = user_router
        self._writer = writer
        self._delivery = delivery
        self._router = router
        self._requests = requests
        self._under_way: dict[_Key, _Attempt] = {}
        # Frames for senders who wait for an `ack`, behind the attempts that are to be answered.
        self._behind: dict[int, deque[bytes | _Attempt]] = {}
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
        key = _key(message)
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

    def follow(self, user_id: int, frame: bytes) -> bool:
        """Send a frame of another node behind the acks that its receiver still waits for.

        Else a `delivered` could overtake its `sent`. Returns False if there are none.
        """
        behind = self._behind.get(user_id)
        if behind is None or len(behind) >= _MAX_BEHIND:
            return False
        behind.append(frame)
        return True

    def _settle(self, message: Outgoing, outcome: SendOutcome) -> None:
        """Answer the sender, then deliver; but queue before the answer if it has to be queued.

        After `sent` nobody sends the message again: should this node die, it must be known to
        Redis, or its receiver must have it, or be one of those who are known to have been here.
        """
        if not isinstance(outcome, Stored):
            self._answer(message, outcome)
            if message.group_id:
                self._router.release(message.group_id)
        elif message.group_id:
            self._answer(message, outcome)
            self._route(message, outcome)
        elif self._delivery.is_here(message.to_user_id):
            self._answer(message, outcome)
            self._delivery.deliver(message.to_user_id, _delivery(message, outcome))
        else:
            attempt = self._under_way[_key(message)]
            attempt.waiting = True
            self._behind.setdefault(message.from_user_id, deque()).append(attempt)
            self._delivery.queue(
                message.to_user_id,
                _delivery(message, outcome),
                partial(self._kept, message, outcome),
            )

    def _kept(self, message: Outgoing, stored: Stored, kept: bool) -> None:
        """Answer the sender of a message that was to be queued, unless that was done."""
        attempt = self._under_way.get(_key(message))
        if attempt is None or not attempt.waiting:
            return
        # Else the sender has to try again: the message is stored, and may be queued by then.
        self._answer(message, stored if kept else Unavailable("the queue could not take it"))
        attempt.waiting = False
        behind = self._behind[message.from_user_id]
        while behind and not (isinstance(behind[0], _Attempt) and behind[0].waiting):
            following = behind.popleft()
            if isinstance(following, bytes):
                self._user_router.send(message.from_user_id, following)
        if not behind:
            del self._behind[message.from_user_id]

    def _answer(self, message: Outgoing, outcome: SendOutcome) -> None:
        attempt = self._under_way.pop(_key(message))
        if isinstance(outcome, Stored):
            answer = sent_frame(outcome)
            self._remember(message, outcome)
        elif isinstance(outcome, Refused):
            answer = failed_frame(message.msg_id, outcome.reason, str(outcome))
        else:
            answer = failed_frame(message.msg_id, Reason.RPC_ERROR)
        for client in attempt.clients:
            self._requests.done(client)
            # The sender may have reconnected meanwhile, and waits for this on the new connection.
            self._user_router.send(message.from_user_id, answer)

    def _remember(self, message: Outgoing, stored: Stored) -> None:
        self._answered[_key(message)] = stored
        if len(self._answered) > self._recent_acks:
            self._answered.popitem(last=False)

    def _route(self, message: Outgoing, stored: Stored) -> None:
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
        self._user_router.route(message.group_id, item)


def _key(message: Outgoing) -> _Key:
    return message.from_user_id, message.msg_id


def _delivery(message: Outgoing, stored: Stored) -> Delivery:
    """Return the delivery of a stored message; also of one that an earlier attempt stored.

    Whoever stored it may have died before routing it; receivers drop duplicates by msgId.
    """
    data = encode_data(
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
    return Delivery(
        data=data, id=stored.id, msg_id=stored.msg_id, from_user_id=message.from_user_id
    )
