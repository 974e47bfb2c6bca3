"""The bounded write queue of one connection; pure, no IO."""

from collections.abc import Iterable
from enum import Enum, auto


class Put(Enum):
    """What became of a frame."""

    ACCEPTED = auto()
    SHED = auto()
    FOLDED = auto()
    OVERFLOW = auto()


# A member of an enum costs a look-up of its own each time, on the way of every frame.
ACCEPTED, SHED, FOLDED, OVERFLOW = Put


_CROWDED_BYTES = 16_384
"""A private message waits behind no more of groups than this, and what the kernel holds."""


class Outbox:
    """Frames that wait to be written, bounded in number and in bytes.

    Frames are shared bytes: one fan-out puts the same object into every outbox.
    """

    # A list, not a deque: an empty one is a tenth of the size, and ten thousand idle connections
    # have one each. A prefix is taken rarely, and from at most some hundred frames.
    __slots__ = (
        "_crowded_bytes",
        "_frames",
        "_half_bytes",
        "_half_frames",
        "_max_bytes",
        "_max_frames",
        "behind",
        "size",
    )

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._frames: list[bytes] = []
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._half_frames = max_frames / 2
        self._half_bytes = max_bytes / 2
        self._crowded_bytes = min(self._half_bytes, _CROWDED_BYTES)
        self.size = 0
        # Groups of which messages were folded: the newest seq of each. None while there is none.
        self.behind: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def half_full(self) -> bool:
        """Whether there is no room for a bulk of frames."""
        return len(self._frames) >= self._half_frames or self.size >= self._half_bytes

    @property
    def crowded(self) -> bool:
        """Whether the reader is so far behind that only what must arrive is put in."""
        return len(self._frames) >= self._half_frames or self.size >= self._crowded_bytes

    def put(self, frame: bytes) -> Put:
        """Append a frame that must arrive; OVERFLOW means that the reader is too slow.

        A frame larger than the whole bound is still taken by an empty outbox.
        """
        frames = self._frames
        if frames and (len(frames) >= self._max_frames or self.size + len(frame) > self._max_bytes):
            return OVERFLOW
        frames.append(frame)
        self.size += len(frame)
        return ACCEPTED

    def put_group(self, frame: bytes, group_id: str, seq: int) -> Put:
        """Append a group message, or fold it into a hint once the outbox is crowded.

        So the messages of groups, which a client can fetch by their seq, never take the room of
        private ones, nor much of their time. While a group's hint waits, all that follows in the
        group goes into it: the client sees no message of the group before the hint that covers
        its predecessors.
        """
        behind = self.behind
        if not self.crowded and (behind is None or group_id not in behind):
            return self.put(frame)
        if behind is None:
            behind = self.behind = {}
        behind[group_id] = seq
        return FOLDED

    def take_behind(self) -> dict[str, int]:
        """Return and forget the hints, once every frame before them has been taken."""
        behind, self.behind = self.behind, None
        return behind or {}

    def offer(self, frame: bytes) -> Put:
        """Append a frame that may be shed: it is, once the outbox is crowded."""
        return SHED if self.crowded else self.put(frame)

    def prepend(self, frames: Iterable[bytes]) -> None:
        """Put frames before all others, without regard to the bounds.

        For what opens a connection, while live frames already wait behind it.
        """
        opening = list(frames)
        self._frames[:0] = opening
        self.size += sum(map(len, opening))

    def take(self, limit: int) -> bytes:
        """Remove and return the oldest frames as one write of about `limit` bytes, at least one."""
        frames = self._frames
        if self.size <= limit:
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            frames.clear()
            self.size = 0
            return data
        taken = count = 0
        for frame in frames:
            if count and taken + len(frame) > limit:
                break
            taken += len(frame)
            count += 1
        data = b"".join(frames[:count])
        del frames[:count]
        self.size -= taken
        return data

    def clear(self) -> None:
        """Drop everything."""
        self._frames.clear()
        self.behind = None
        self.size = 0
