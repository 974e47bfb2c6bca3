"""What a sender is told of its message: `sent` first, then `delivered` and `read`."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic

from skyeim_ws.conn.hub import Hub
from skyeim_ws.contract.timing import DELIVERED, SENT, Timings
from skyeim_ws.logic.answers import status_frame
from skyeim_ws.logic.bus import Bus

MAX_UNDELIVERED = 10_000
"""Private messages whose way is timed; of more, those whose senders wait longest are left out."""


class Acks:
    """Tells senders on any node, and knows who of this node still waits for `sent`.

    `sent` and `delivered` count how long that took; `undelivered` has when the frames came of
    private messages that are sent and not delivered.
    """

    def __init__(self, hub: Hub, bus: Bus, timings: Timings) -> None:
        self.sent, self.delivered = timings.histogram(SENT), timings.histogram(DELIVERED)
        self.undelivered: OrderedDict[tuple[int, str], float] = OrderedDict()
        self._hub = hub
        self._bus = bus
        self._waiting: dict[tuple[int, str], Callable[[bool], None]] = {}

    def wait(self, sender_id: int, msg_id: str, answer: Callable[[bool], None]) -> None:
        """Call `answer` once, later: with whether a stored message is kept."""
        self._waiting[sender_id, msg_id] = answer

    def kept(self, sender_id: int, msg_id: str, kept: bool) -> None:
        """Note whether a message is kept, by the queue or by its receiver: the first one counts."""
        answer = self._waiting.pop((sender_id, msg_id), None)
        if answer is not None:
            answer(kept)

    def tell(self, sender_id: int, msg_ids: Sequence[str], status: str) -> None:
        """Tell a sender, on whichever node, that its messages are `delivered` or `read`."""
        if not self.told(sender_id, msg_ids, status):
            self._bus.ack(sender_id, msg_ids, status)

    def told(self, sender_id: int, msg_ids: Sequence[str], status: str) -> bool:
        """Tell a sender the same, if it is here; return whether it is.

        What a receiver has cannot be lost, so `sent` need not wait any longer, and goes first.
        """
        client = self._hub.get(sender_id)
        frames = b""
        for msg_id in msg_ids:
            if self._waiting:
                self.kept(sender_id, msg_id, True)
            since = self.undelivered.pop((sender_id, msg_id), None)
            if since is not None:
                took = monotonic() - since
                self.delivered.buckets[bisect_left(self.delivered.bounds, took)] += 1
                self.delivered.total += took
            if client is not None:
                frames += status_frame(msg_id, status)
        if client is None:
            return False
        client.send(frames)
        return True
