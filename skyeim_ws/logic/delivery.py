"""A private message on its way to its receiver: routed here, or queued, and confirmed once."""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.stats import Stats
from skyeim_ws.logic.answers import status_frame
from skyeim_ws.logic.catch_up import CatchUp, Hold
from skyeim_ws.logic.ports import NodeSessions, OfflineQueue
from skyeim_ws.logic.user_router import UserRouter


class PrivateDelivery:
    """Route or queue, return, confirm. None of it waits; the offline queue keeps the order."""

    def __init__(
        self,
        *,
        hub: Hub,
        queue: OfflineQueue,
        node_sessions: NodeSessions,
        user_router: UserRouter,
        catch_up: CatchUp,
        stats: Stats,
    ) -> None:
        self._catch_up = catch_up
        self._hub = hub
        self._user_router = user_router
        self._queue = queue
        self._node_sessions = node_sessions
        self._stats = stats
        # Who has been brought what was unread when Redis went away.
        self._brought: set[Client] = set()

    def is_here(self, user_id: int) -> bool:
        """Whether a message for the user is safe without a queue.

        Not before the others know of the connection, nor once they may take this node for dead:
        should it die, they bring the user what it had in its hands. And not while this node does
        not hear the others: what they have queued comes first.
        """
        client = self._hub.get(user_id)
        if client is None or not client.in_node_sessions:
            return False
        return self._node_sessions.listed and not self._user_router.not_subscribed

    def deliver(self, user_id: int, delivery: Delivery) -> None:
        """Deliver a stored message to its receiver, who is here."""
        client = self._hub.get(user_id)
        if client is None:
            self._queue.route(user_id, delivery.data)  # the answer to its sender was too much
        else:
            self._hand_over(client, delivery)

    def queue(self, user_id: int, delivery: Delivery, done: Callable[[bool], None]) -> None:
        """Bring a stored message to its receiver's queue, whence it is delivered on any node.

        `done` is called later with whether the message is kept; twice, if its receiver is here and
        has it as well.
        """
        self._queue.route(user_id, delivery.data, done)
        client = self._hub.get(user_id)
        if client is not None and not self._user_router.not_subscribed:
            # So chat goes on between the users of a node that cannot reach Redis.
            kept = partial(done, True)
            self._hand_over(client, replace(delivery, stored=delivery.data, kept=kept))

    def _hand_over(self, client: Client, delivery: Delivery) -> None:
        if self._user_router.redis_down and client not in self._brought:
            # An earlier message of the same sender may be in the queue, unheard: the sender was on
            # another node. It is unread in the Message service as well, and goes first.
            self.replay_unread(client)
        match self._catch_up.hold(client, delivery):
            case Hold.NOT_HELD:
                client.deliver(delivery)
            case Hold.FULL if not delivery.safe:
                # The catch-up will fetch it; until it is confirmed the queue has it.
                self._queue.push(client.user_id, [delivery.data])

    def replay_unread(self, client: Client, after_id: int | None = None) -> None:
        """Bring what the Message service has unread, or after an id, before all that is live."""
        self._brought.add(client)
        self._catch_up.fetch(client, "", after_id)

    def reconnected(self) -> None:
        """Note that Redis, or what it tells, was away and is back."""
        self._brought.clear()

    def deliver_queued(self, user_id: int, entry: bytes) -> None:
        """Deliver a message that another node has queued, if its receiver is still here."""
        client = self._hub.get(user_id)
        message = self._queue.read(entry)
        if client is None or message is None:
            return
        if message.msg_id not in client.ledger:
            self._hand_over(
                client,
                Delivery(
                    data=message.raw,
                    id=message.id,
                    msg_id=message.msg_id,
                    from_user_id=message.from_user_id,
                    stored=message.stored,
                    safe=True,
                ),
            )

    def return_undelivered(self, user_id: int, deliveries: Sequence[Delivery]) -> None:
        """Put back what a connection leaves unconfirmed, but for what is safe."""
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
        queued = [delivery.stored for delivery in deliveries if delivery.stored is not None]
        if queued:
            self._queue.remove(user_id, queued)
        for delivery in deliveries:
            if delivery.kept is not None:
                delivery.kept()
            self._user_router.send(
                delivery.from_user_id, status_frame(delivery.msg_id, "delivered")
            )
