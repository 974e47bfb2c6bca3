"""What was written to a connection and is not yet confirmed by its client; pure, no IO."""

from enum import Enum, auto

import msgspec
from msgspec.structs import replace


class DeliveryState(Enum):
    """Who has a private message, besides the connection that it is written to."""

    LIVE = auto()  # nobody: if it stays unconfirmed, it goes into the offline queue
    QUEUEING = auto()  # perhaps the queue, which has not answered: it goes there once more
    QUEUED = auto()  # the queue
    FETCHED = auto()  # the Message service: whatever has to bring it again knows that already


class Delivery(msgspec.Struct, frozen=True):
    """A private message on its way to a client.

    `data` is the encoded `data` object of its frame. `queue_entry` leaves the offline queue when
    the message is confirmed; it is None for a live message, which is in no queue.
    """

    data: bytes
    id: int
    msg_id: str
    from_user_id: int
    state: DeliveryState = DeliveryState.LIVE
    queue_entry: bytes | None = None

    @property
    def safe(self) -> bool:
        """Whether it is not lost with the connection."""
        return self.state in (DeliveryState.QUEUED, DeliveryState.FETCHED)


def merged(older: Delivery, newer: Delivery) -> Delivery:
    """Return what stands for both deliveries of a message; the queue may have either."""
    state, entry = older.state, older.queue_entry or newer.queue_entry
    if not (older.safe and newer.safe):
        state = DeliveryState.LIVE if entry is None else DeliveryState.QUEUEING
    return replace(older, state=state, queue_entry=entry)


class Ledger:
    """Unconfirmed deliveries in the order of writing.

    Frames of a WebSocket are ordered, so the pong to a ping that was written after a message
    proves that the client's WebSocket stack has the message. At most one ping is under way.
    Behind a proxy that answers pings itself a pong proves nothing: `pongs_confirm` says so.
    """

    __slots__ = (
        "_entries",
        "_max_size",
        "_ping",
        "_ping_covers",
        "_position",
        "pongs_confirm",
        "wants_ping",
    )

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self.pongs_confirm = True
        # msg_id -> (position, delivery); a dict keeps the order of writing.
        self._entries: dict[str, tuple[int, Delivery]] = {}
        self._position = 0
        self._ping = 0
        self._ping_covers: int | None = None
        # Whether there is something unconfirmed, and no ping under way. Kept, not computed: it is
        # asked at each write to a connection.
        self.wants_ping = False

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, msg_id: str) -> bool:
        return msg_id in self._entries

    @property
    def full(self) -> bool:
        """Whether the client has confirmed too little for more to be written."""
        return len(self._entries) >= self._max_size

    @property
    def half_full(self) -> bool:
        """Whether at least half of what fits in is there."""
        return 2 * len(self._entries) >= self._max_size

    @property
    def room(self) -> int:
        """How many more messages may be written before the client confirms some."""
        return self._max_size - len(self._entries)

    def lowest_id(self, default: int) -> int:
        """Return the smallest id that is unconfirmed."""
        return min((delivery.id for _, delivery in self._entries.values()), default=default)

    @property
    def ping_under_way(self) -> bool:
        """Whether a ping waits for its pong."""
        return self._ping_covers is not None

    def add(self, delivery: Delivery) -> None:
        """Remember a delivery; one with the same msg_id that is still unconfirmed stands for it."""
        if delivery.msg_id in self._entries:
            self.merge(delivery)
        else:
            self._position += 1
            self._entries[delivery.msg_id] = (self._position, delivery)
        self.wants_ping = self.pongs_confirm and self._ping_covers is None

    def merge(self, delivery: Delivery) -> None:
        """Let the unconfirmed delivery with the same msg_id stand for this one as well."""
        position, older = self._entries[delivery.msg_id]
        self._entries[delivery.msg_id] = (position, merged(older, delivery))

    def next_ping(self) -> bytes:
        """Return the payload of a ping that covers everything added so far."""
        self._ping += 1
        self._ping_covers = self._position
        self.wants_ping = False
        return b"%d" % self._ping

    def confirm(self, msg_id: str) -> Delivery | None:
        """Remove and return the delivery that the client has acknowledged by name."""
        entry = self._entries.pop(msg_id, None)
        self.wants_ping = self.pongs_confirm and bool(self._entries) and self._ping_covers is None
        return entry[1] if entry else None

    def pong(self, payload: bytes) -> list[Delivery] | None:
        """Remove and return what the pong proves; None for a pong that answers no ping."""
        if self._ping_covers is None or payload != b"%d" % self._ping:
            return None
        covered, self._ping_covers = self._ping_covers, None
        if not self.pongs_confirm:
            return []
        confirmed = []
        for position, delivery in self._entries.values():
            if position > covered:
                break
            confirmed.append(delivery)
        for delivery in confirmed:
            del self._entries[delivery.msg_id]
        self.wants_ping = bool(self._entries)
        return confirmed

    def drain(self) -> list[Delivery]:
        """Remove and return everything unconfirmed, in the order of writing."""
        left = [delivery for _, delivery in self._entries.values()]
        self._entries.clear()
        self.wants_ping = False
        return left
