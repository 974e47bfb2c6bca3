"""Read marks: what was read while there was no connection is told on the next one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MSG_IDS = 1000
"""In one frame, for one peer."""


@dataclass(slots=True)
class Marks:
    """The marks that were not told yet."""

    _peers: dict[int, list[str] | None] = field(default_factory=dict)  # None for all
    _groups: dict[str, int] = field(default_factory=dict)

    def read(self, peer_id: int, msg_ids: Iterable[str] | None) -> None:
        """Mark messages of a peer: those named, or all for None."""
        before = self._peers.get(peer_id, [])
        named = None if msg_ids is None or before is None else [*before, *msg_ids][-MSG_IDS:]
        self._peers[peer_id] = named

    def read_group(self, group_id: str, seq: int) -> None:
        """Mark a group up to a seq."""
        self._groups[group_id] = max(seq, self._groups.get(group_id, 0))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the frames to write, and keep none."""
        frames: list[tuple[str, dict[str, Any]]] = [
            ("read", {"peerId": peer_id, "msgIds": msg_ids})
            for peer_id, msg_ids in self._peers.items()
        ]
        frames += [
            ("group_read", {"groupId": group_id, "readSeq": seq})
            for group_id, seq in self._groups.items()
        ]
        self._peers.clear()
        self._groups.clear()
        return frames
