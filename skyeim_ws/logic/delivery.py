"""A private message on its way to its receiver: routed here, or queued, and confirmed once."""

from collections.abc import Sequence

from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.stats import Stats
from skyeim_ws.logic.answers import status_frame
from skyeim_ws.logic.ports import OfflineQueue


class PrivateDelivery:
    """Route or queue, return, confirm. None of it waits; the offline queue keeps the order."""

    def __init__(self, hub: Hub, queue: OfflineQueue, stats: Stats) -> None:
        self._hub = hub
        self._queue = queue
        self._stats = stats

    def deliver(self, user_id: int, delivery: Delivery) -> None:
        """Bring a stored message to its receiver, or to the receiver's offline queue."""
        if not self._hub.deliver(user_id, delivery):
            self._queue.push(user_id, [delivery.data])

    def return_undelivered(self, user_id: int, deliveries: Sequence[Delivery]) -> None:
        """Put back what a connection leaves unconfirmed, in order.

        What came from the queue is still in it.
        """
        live = [delivery.data for delivery in deliveries if delivery.stored is None]
        if live:
            self._stats.deliveries_returned += len(live)
            self._queue.push(user_id, live)

    def confirm(self, user_id: int, deliveries: Sequence[Delivery]) -> None:
        """Take confirmed messages out of the queue and tell their senders."""
        queued = [delivery.stored for delivery in deliveries if delivery.stored is not None]
        if queued:
            self._queue.remove(user_id, queued)
        for delivery in deliveries:
            self._hub.send_to_user(
                delivery.from_user_id, status_frame(delivery.msg_id, "delivered")
            )
