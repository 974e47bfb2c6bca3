"""Sending: check, store, acknowledge, then deliver; a msgId is stored and answered once."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from time import monotonic

from msgspec import UNSET
from msgspec.structs import replace

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.hub import Hub
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
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode, Reason
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.contract.message_trace import MessageTrace
from skyeim_ws.contract.spans import SPAN
from skyeim_ws.contract.texts import Text
from skyeim_ws.logic.acks import MAX_UNDELIVERED, Acks
from skyeim_ws.logic.answers import failed_frame, refuse, sent_frame
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.outgoing import Key, MessageWriter, Outgoing, SendOutcome, Stored
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.logic.send_window import SendWindow
from skyeim_ws.logic.user_router import UserRouter


class Sending:
    """Handles `chat` and `group_chat`.

    Nothing here waits: the writer calls back when a batch is stored, in the order of submission.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        user_router: UserRouter,
        acks: Acks,
        writer: MessageWriter,
        delivery: PrivateDelivery,
        router: GroupRouter,
        trace: MessageTrace,
        max_in_flight: int,
        send_ahead: int,
        recent_acks: int,
    ) -> None:
        self._hub = hub
        self._user_router = user_router
        self._acks = acks
        self._writer = writer
        self._delivery = delivery
        self._router = router
        self._trace = trace
        self.window = SendWindow(self._begin, max_in_flight=max_in_flight, send_ahead=send_ahead)
        # Whom to answer when a message is stored: one client for each attempt to send it.
        self._under_way: dict[Key, list[Client]] = {}
        # What was answered lately, by sender and msgId: a retry is answered from here and routes
        # nothing again.
        self._answered: OrderedDict[tuple[int, str], tuple[Key, Stored]] = OrderedDict()
        self._recent_acks = recent_acks
        self.on_group_stored: Callable[[Outgoing, Stored], None] | None = None

    @property
    def under_way(self) -> int:
        """Count the messages that are being stored."""
        return len(self._under_way)

    def chat(self, client: Client, data: Chat) -> None:
        """Take a private message."""
        self.window.submit(
            client,
            Outgoing(
                msg_id=data.msg_id or new_msg_id(),
                from_user_id=client.user_id,
                to_user_id=data.to_user_id,
                content=data.content,
                content_type=data.content_type,
                since=monotonic(),
                span=SPAN.get(),
            ),
        )

    def group_chat(self, client: Client, data: GroupChat) -> None:
        """Take a group message."""
        self.window.submit(
            client,
            Outgoing(
                msg_id=data.msg_id or new_msg_id(),
                from_user_id=client.user_id,
                group_id=data.group_id,
                content=data.content,
                content_type=data.content_type,
                at_user_ids=tuple(data.at_user_ids or ()),
                since=monotonic(),
                span=SPAN.get(),
            ),
        )

    def _begin(self, client: Client, message: Outgoing) -> bool:
        """Have a message stored, or answer it at once; tell whether it is under way now."""
        key = message.key
        answered = self._answered.get((client.user_id, message.msg_id))
        if answered is not None:
            if self._trace.on:
                self._note("repeated", message, conn=client.conn_id)
            first, stored = answered
            if first == key:
                client.send(sent_frame(stored))
            else:
                client.context.stats.refusals[Reason.MSG_ID_CONFLICT] += 1
                client.send(failed_frame(message.msg_id, Reason.MSG_ID_CONFLICT, client.language))
            return False
        if (clients := self._under_way.get(key)) is not None:
            clients.append(client)
            return True
        # The place in the group's queue is taken first: a message that is stored is routed.
        reserved = not message.group_id or self._router.reserve(message.group_id)
        if reserved and self._writer.submit(message, self._settle):
            self._under_way[key] = [client]
            if self._trace.on:
                self._note("accepted", message, conn=client.conn_id)
            return True
        if reserved and message.group_id:
            self._router.release(message.group_id)
        client.context.stats.busy += 1
        kind = "group_chat" if message.group_id else "chat"
        refuse(client, kind, Reason.BUSY, msg_id=message.msg_id)
        return False

    def _settle(self, message: Outgoing, outcome: SendOutcome) -> None:
        """Answer the sender, then deliver; but queue before the answer if it has to be queued.

        After `sent` nobody sends the message again: should this node die, it must be known to
        Redis, or its receiver must have it, or be one of those who are known to have been here.
        """
        if self._trace.on and isinstance(outcome, Stored):
            repeat = {"repeat": True} if outcome.first else {}
            seq = {"seq": outcome.seq} if outcome.seq else {}
            self._note("stored", message, id=outcome.id, **seq, **repeat)
        if not isinstance(outcome, Stored):
            self._answer(message, outcome)
            if message.group_id:
                self._router.release(message.group_id)
            return
        # What a repeat says was checked by nobody.
        message = outcome.first or message
        receiver = None
        try:
            if message.group_id:
                self._answer(message, outcome)
                self._route(message, outcome)
                return
            receiver = self._hub.get(message.to_user_id)
            delivery = _delivery(message, outcome)
            if receiver is not None and self._delivery.is_safe_with(receiver, outcome.id):
                self._answer(message, outcome)
                self._delivery.deliver(receiver, delivery)
            else:
                answer = partial(self._kept, message, outcome)
                self._acks.wait(message.from_user_id, message.msg_id, answer)
                self._delivery.queue(message.to_user_id, receiver, delivery)
        except Exception:
            # Who waits for the answer, or for the message, would wait for good.
            for client in (*self._under_way.pop(message.key, ()), receiver):
                if client is not None:
                    client.disconnect(CloseCode.INTERNAL_ERROR, Text.INTERNAL_ERROR())
            raise

    def _kept(self, message: Outgoing, stored: Stored, kept: bool) -> None:
        """Answer the sender of a message that was to be queued."""
        # Else the sender has to try again: the message is stored, and may be queued by then.
        self._answer(message, stored if kept else Unavailable("the queue could not take it"))

    def _answer(self, message: Outgoing, outcome: SendOutcome) -> None:
        key = message.key
        clients = self._under_way.pop(key)
        if self._trace.on:
            self._note_answer(message, outcome)
        if isinstance(outcome, Stored):
            answer = sent_frame(outcome)
            self._remember(key, outcome, message.since)
        for client in clients:
            if not isinstance(outcome, Stored):
                answer = _failure(client, message.msg_id, outcome)
            if client.state < State.DRAINING:
                client.send(answer)
            else:
                # The sender may have reconnected, and waits for this on the new connection.
                self._user_router.send(message.from_user_id, answer)
            self.window.done(client)

    def _note(self, step: str, message: Outgoing, **about: object) -> None:
        to = {"group": message.group_id} if message.group_id else {"to": message.to_user_id}
        self._trace.note(
            step, message.msg_id, message.from_user_id, message.to_user_id, **to, **about
        )

    def _note_answer(self, message: Outgoing, outcome: SendOutcome) -> None:
        if isinstance(outcome, Stored):
            self._note("sent", message)
        elif isinstance(outcome, Refused):
            self._note("refused", message, reason=outcome.reason, by="service")
        else:
            self._note("failed", message, reason=Reason.RPC_ERROR, why=str(outcome))

    def _remember(self, key: Key, stored: Stored, since: float) -> None:
        if stored.first is not None:
            stored = replace(stored, first=None)  # the contents of all of them would be too much
        sender_id, receiver_id, _, msg_id = key
        self._answered[sender_id, msg_id] = key, stored
        if len(self._answered) > self._recent_acks:
            self._answered.popitem(last=False)
        if since:
            sent, took = self._acks.sent, monotonic() - since
            sent.buckets[bisect_left(sent.bounds, took)] += 1
            sent.total += took
            undelivered = self._acks.undelivered
            if receiver_id:
                undelivered[sender_id, msg_id] = since
            if len(undelivered) > MAX_UNDELIVERED:
                undelivered.popitem(last=False)

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
        item = GroupFrame(
            frame("group_chat", data),
            message.from_user_id,
            stored.seq,
            id=stored.id,
            repeat=stored.first is not None,
        )
        self._user_router.route(message.group_id, item)
        if self.on_group_stored is not None:
            self.on_group_stored(message, stored)


def _failure(client: Client, msg_id: str, outcome: Refused | Unavailable) -> bytes:
    refused = Refused(Reason.RPC_ERROR) if isinstance(outcome, Unavailable) else outcome
    client.context.stats.refusals[refused.reason] += 1
    return failed_frame(msg_id, refused.reason, client.language, refused.phrase)


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
