"""One write per connection and turn of the loop; one pass per group for all its members."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Phrase, Text

log = structlog.get_logger()

MAX_WRITE = 16_384
"""Bytes in one write; what a slow peer leaves of it is held besides its outbox."""

MAX_RECEIVERS = 1_000
"""To whom a fan-out writes in one turn, some 7 ms; the others come in the next ones."""

ACKS_OF_A_MESSAGE = 2
"""A client says of each message that it was delivered, and that it was read."""


class Receiver(Protocol):
    """A connection, as far as writing goes."""

    user_id: int
    acks_due: int
    frames_out: int
    direct: Callable[[bytes], int] | None

    def write_queued(self) -> None:
        """Write what is queued."""

    def write_rest(self, data: memoryview) -> None:
        """Write what the socket has not taken, before anything else."""

    def send(self, frame: bytes) -> None:
        """Queue a frame that must arrive."""

    def send_group(self, frame: bytes, group_id: str, seq: int) -> None:
        """Queue a message of a group."""

    def disconnect(self, code: CloseCode, reason: Phrase) -> None:
        """Close the connection."""


class Fanout:
    """Frames of one group that meet in a turn, for the same receivers."""

    __slots__ = ("_data", "_frames", "_receivers", "_senders", "_written", "group_id")

    def __init__(self, group_id: str, receivers: list[Receiver]) -> None:
        self.group_id = group_id
        self._receivers = receivers
        # How many of them have been written to, and what is written.
        self._written = 0
        self._data = b""
        self._frames: list[tuple[bytes, int, int]] = []
        self._senders: set[int] = set()

    def add(self, frame: bytes, seq: int, sender_id: int) -> None:
        """Add a frame, which its sender does not get; `seq` is 0 for what is not a message."""
        self._frames.append((frame, seq, sender_id))
        self._senders.add(sender_id)

    @property
    def left(self) -> int:
        """To how many receivers nothing was written yet."""
        return len(self._receivers) - self._written

    def write(self) -> int:
        """Write to whoever of the next receivers has nothing else to be written, else queue.

        No frame may be added any more. Returns how many frames were written. What this loop costs
        is what a fan-out costs: putting the frames into each outbox first takes half as much again
        for one frame, and twice as much for ten that meet.
        """
        data = self._data = self._data or b"".join([frame for frame, _, _ in self._frames])
        size = len(data)
        receivers = self._receivers
        if len(receivers) > MAX_RECEIVERS:
            receivers = receivers[self._written : self._written + MAX_RECEIVERS]
        self._written += len(receivers)
        if size > MAX_WRITE:
            for receiver in receivers:
                self._queue(receiver)
            return 0
        written = 0
        frames = len(self._frames)
        acks = ACKS_OF_A_MESSAGE * frames
        senders = self._senders
        for receiver in receivers:
            direct = receiver.direct
            if direct is None or receiver.user_id in senders:
                self._queue(receiver)
                continue
            try:
                sent = direct(data)
            except OSError:
                sent = 0  # full, or gone: `write_rest` finds out which
            if sent != size:
                receiver.write_rest(memoryview(data)[sent:])
            receiver.acks_due += acks
            receiver.frames_out += frames
            written += 1
        return written * frames

    def _queue(self, receiver: Receiver) -> None:
        for frame, seq, sender_id in self._frames:
            if sender_id == receiver.user_id:
                continue
            if seq:
                receiver.send_group(frame, self.group_id, seq)
            else:
                receiver.send(frame)


@dataclass(slots=True)
class Flusher:
    """Collects who has something to write, and flushes once per turn.

    One callback of the loop serves all of them: frames that meet in an outbox within a turn
    leave in one send, and a fan-out to a thousand connections makes one callback, not a thousand.
    One to more than that takes several turns, in which others get theirs.
    Within a `with` block it takes no callback: what is collected leaves at the end of the block.
    """

    call_soon: Callable[[Callable[[], None]], object]
    stats: Stats
    _dirty: list[Receiver] = field(default_factory=list)
    _fanouts: dict[int, Fanout] = field(default_factory=dict)
    _large: dict[str, Fanout] = field(default_factory=dict)
    """By group, what is written a part in each turn; what comes next for the group waits for it."""
    _works: list[Callable[[], None]] = field(default_factory=list)
    _scheduled: bool = False

    def add(self, receiver: Receiver) -> None:
        """Flush the queue of the receiver at the end of this turn."""
        self._dirty.append(receiver)
        if not self._scheduled:
            self._schedule()

    def fan_out(
        self, group_id: str, receivers: list[Receiver], frame: bytes, seq: int, sender_id: int
    ) -> None:
        """Write a frame to all of the receivers at the end of this turn, but not to its sender.

        Frames with the very same list of receivers leave in one write.
        """
        fanout = self._fanouts.get(id(receivers))
        if fanout is None:
            fanout = self._fanouts[id(receivers)] = Fanout(group_id, receivers)
            if not self._scheduled:
                self._schedule()
        fanout.add(frame, seq, sender_id)

    def at_end(self, work: Callable[[], None]) -> None:
        """Do this at the end of this turn, before anything is written; it must not raise."""
        self._works.append(work)
        if not self._scheduled:
            self._schedule()

    def __enter__(self) -> None:
        self._scheduled = True

    def __exit__(self, *_: object) -> None:
        self.flush()

    def _schedule(self) -> None:
        self._scheduled = True
        self.call_soon(self.flush)

    def flush(self) -> None:
        """Do what was left for the end of the turn, and write what was collected."""
        while self._works:  # one of them may leave more
            works, self._works = self._works, []
            for work in works:
                work()
        fanouts, self._fanouts = self._fanouts, {}
        self._scheduled = False
        if self._dirty:
            self._write_queues()
        for key, fanout in fanouts.items():
            if fanout.group_id in self._large:
                self._fanouts[key] = fanout
            elif fanout.left > MAX_RECEIVERS:
                self._large[fanout.group_id] = fanout
            else:
                self._write(fanout)
        if self._large:
            # One part for all of them, so that a turn does not grow with their number.
            fanout = self._large.pop(next(iter(self._large)))
            self._write(fanout)
            if fanout.left:
                self._large[fanout.group_id] = fanout
        if (self._large or self._fanouts) and not self._scheduled:
            self._schedule()

    def _write(self, fanout: Fanout) -> None:
        try:
            self.stats.frames_queued += fanout.write()
        except Exception:  # a fault with one must not cost the others their service
            log.exception("fan_out_failed")
        # What was queued now goes before what the next one, perhaps of the same group, writes.
        if self._dirty:
            self._write_queues()

    def _write_queues(self) -> None:
        dirty, self._dirty = self._dirty, []
        for receiver in dirty:
            try:
                receiver.write_queued()
            except Exception:
                # What it should have got would never come: it has to begin anew.
                log.exception("write_failed", user=receiver.user_id)
                receiver.disconnect(CloseCode.INTERNAL_ERROR, Text.INTERNAL_ERROR())
