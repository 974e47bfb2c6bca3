"""A private message on its way to its receiver: routed here, or queued, and confirmed once."""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.ledger import Delivery, DeliveryState
from skyeim_ws.conn.state import State
from skyeim_ws.conn.stats import Stats
from skyeim_ws.logic.acks import Acks
from skyeim_ws.logic.bus import Bus
from skyeim_ws.logic.catch_up import CatchUp, Hold
from skyeim_ws.logic.fetched import queued
from skyeim_ws.logic.session_state import Session, session_of
from skyeim_ws.logic.shared_state import NodeSessions, OfflineQueue


class PrivateDelivery:
    """Delivers or queues a message, puts it back, confirms it. No method waits."""

    def __init__(
        self,
        *,
        hub: Hub,
        queue: OfflineQueue,
        node_sessions: NodeSessions,
        bus: Bus,
        acks: Acks,
        catch_up: CatchUp,
        stats: Stats,
    ) -> None:
        self._acks = acks
        self._catch_up = catch_up
        self._hub = hub
        self._bus = bus
        self._queue = queue
        self._node_sessions = node_sessions
        self._stats = stats
        self._trace = stats.trace

    def is_safe_with(self, client: Client, message_id: int) -> bool:
        """Whether a message for the client is safe without a queue.

        Not before the others know of the connection, nor once they may take this node for dead:
        should it die, they bring the user what it had in its hands. And not while this node does
        not hear the others: what they have queued comes first. Nor if it is late: below the
        watermark nobody would look for it, but the queue takes that back.
        """
        session: Session = client.session  # no call for each message
        if not session.in_node_sessions or not self._node_sessions.listed:
            return False
        if message_id < session.proposed:
            return False
        return not self._bus.not_subscribed

    def deliver(self, client: Client, delivery: Delivery) -> None:
        """Deliver a stored message to its receiver, who was here just now."""
        if client.state >= State.DRAINING:
            # It wrote to itself, and was too slow for the answer.
            self._queue.route(client.user_id, delivery.data)
        else:
            self._hand_over(client, delivery)

    def queue(self, user_id: int, client: Client | None, delivery: Delivery) -> None:
        """Bring a stored message to its receiver's queue, whence it is delivered on any node.

        `client` is the receiver's connection, if it is here. `Acks.kept` is called later: when the
        queue has answered, and when the client has confirmed.
        """
        kept: Callable[[bool], None] = partial(
            self._acks.kept, delivery.from_user_id, delivery.msg_id
        )
        if self._trace.on:
            kept = self._traced(user_id, client, delivery, kept)
        self._queue.route(user_id, delivery.data, kept)
        if client is not None and not self._bus.not_subscribed:
            # So chat goes on between the users of a node that cannot reach Redis.
            state = DeliveryState.QUEUEING
            self._hand_over(client, replace(delivery, state=state, queue_entry=delivery.data))

    def _hand_over(self, client: Client, delivery: Delivery) -> None:
        if self._bus.redis_down and self._may_be_overtaken(client, delivery.from_user_id):
            # It is unread in the Message service as well, and goes first.
            self.replay_unread(client)
        hold = self._catch_up.hold(client, delivery)
        if hold is Hold.NOT_HELD:
            client.deliver(delivery)
            return
        if self._trace.on:
            self._note("held_back", client.user_id, delivery, conn=client.conn_id)
        if hold is Hold.FULL and not delivery.safe:
            # The catch-up will fetch it; until it is confirmed the queue has it.
            self._queue.push(client.user_id, [delivery.data])

    def _may_be_overtaken(self, client: Client, sender_id: int) -> bool:
        """Whether an earlier message of the sender may be in the queue, unheard here.

        The sender was on another node then, be it before Redis went away, or since: it may be away
        for this node alone.
        """
        sender = self._hub.get(sender_id)
        brought = session_of(client).brought_unread
        return not brought or sender is None or sender.opened_at >= brought

    def replay_unread(self, client: Client, after_id: int | None = None) -> None:
        """Bring what the Message service has unread, or has after an id, before anything live."""
        session_of(client).brought_unread = client.context.clock()
        self._catch_up.fetch(client, "", after_id)

    def deliver_queued(self, user_id: int, entry: bytes) -> None:
        """Deliver a message that another node has queued, if its receiver is still here."""
        client = self._hub.get(user_id)
        message = self._queue.read(entry)
        if message is None:
            return
        if self._trace.on:
            step = "told" if client is not None else "left_before"
            self._trace.note(step, message.msg_id, user_id, message.from_user_id)
        if client is None:
            self._queue.unheard(user_id, entry)
        elif message.msg_id in client.ledger:
            client.ledger.merge(queued(message))  # a retry: its entry leaves with the first one
        else:
            self._hand_over(client, queued(message))

    def return_undelivered(self, user_id: int, deliveries: Sequence[Delivery]) -> None:
        """Put back what a connection leaves unconfirmed, unless it is safe already."""
        if self._trace.on:
            for delivery in deliveries:
                self._note("unconfirmed", user_id, delivery, queued_again=not delivery.safe)
        live = [delivery.data for delivery in deliveries if not delivery.safe]
        if not live:
            return
        self._stats.deliveries_returned += len(live)
        if user_id in self._hub:
            # Its successor is here and about to read the queue.
            self._queue.push(user_id, live)
            return
        for entry in live:
            self._queue.route(user_id, entry)

    def confirm(self, user_id: int, deliveries: Sequence[Delivery]) -> None:
        """Take confirmed messages out of the queue and tell their senders."""
        entries = [d.queue_entry for d in deliveries if d.queue_entry is not None]
        if entries:
            self._queue.remove(user_id, entries)
        for delivery in deliveries:
            if self._trace.on:
                self._note("confirmed", user_id, delivery)
            self._acks.tell(delivery.from_user_id, [delivery.msg_id], "delivered")

    def _note(self, step: str, user_id: int, delivery: Delivery, **about: object) -> None:
        self._trace.note(step, delivery.msg_id, user_id, delivery.from_user_id, **about)

    def _traced(
        self,
        user_id: int,
        client: Client | None,
        delivery: Delivery,
        kept: Callable[[bool], None],
    ) -> Callable[[bool], None]:
        """Note that a message goes to the queue, and when Redis has it."""
        why = "not_here" if client is None else "not_safe_here"
        self._note("to_queue", user_id, delivery, why=why)

        def told(taken: bool) -> None:
            self._note("queued" if taken else "not_queued", user_id, delivery)
            kept(taken)

        return told
