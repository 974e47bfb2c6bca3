"""Group messages in the order of seq: gaps are noticed, and filled from the server's storage."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from skyeim_ws.client.events import Message

HELD = 1000
"""Messages of one group that wait for a gap to be filled."""

AT_ONCE = 4
"""Groups that are being synced at a time."""

ASK_AGAIN = 1.0
"""Seconds, when the storage itself has a gap."""


@dataclass(slots=True)
class _Group:
    seq: int  # everything up to this has come
    id: int = 0  # the newest that has come; 0 while none is known
    floor: int = 0  # what has come before the counter of the group was set back: up to this id
    anew: int | None = None  # the server has said that it counts anew behind this seq
    held: dict[int, Message | None] = field(default_factory=dict)  # None for a message of ours
    wanted: bool = True
    asking: bool = False
    not_before: float = 0.0
    failures: int = 0
    doubt: int | None = None

    def begins_anew(self, seq: int, message_id: int) -> bool:
        """Return whether a lower seq is no duplicate, but the counter was set back."""
        return 0 < self.id < message_id or seq - 1 == self.anew

    def restart(self, seq: int, message_id: int) -> None:
        """Go on with this message as the next."""
        # With a database from a backup ids begin again as well; then nothing old is left there.
        self.floor = self.id = self.id if self.id < message_id else 0
        self.seq, self.anew = seq - 1, None
        self.held.clear()

    def advance(self) -> list[Message]:
        """Take what follows without a gap; return the messages to show."""
        found = []
        while self.seq + 1 in self.held:
            self.seq += 1
            message = self.held.pop(self.seq)
            if message is not None:
                self.id = max(self.id, message.id)
                found.append(message)
        for seq in [seq for seq in self.held if seq <= self.seq]:
            del self.held[seq]
        return found


@dataclass(slots=True)
class Groups:
    """The groups that are followed; `pause(failures)` is the wait after a failed sync."""

    pause: Callable[[int], float]
    _groups: dict[str, _Group] = field(default_factory=dict)

    def follow(self, group_id: str, seq: int, newest_id: int = 0) -> None:
        """Keep up with a group from this seq on: everything above it is wanted."""
        self._groups.setdefault(group_id, _Group(seq, newest_id))

    def unfollow(self, group_id: str) -> None:
        """Forget a group."""
        self._groups.pop(group_id, None)

    def positions(self) -> dict[str, int]:
        """Return, for each group, up to which seq everything has come."""
        return {group_id: group.seq for group_id, group in self._groups.items()}

    def newest_ids(self) -> dict[str, int]:
        """Return the id of the newest message that has come of each group, as far as known."""
        return {group_id: group.id for group_id, group in self._groups.items() if group.id}

    def connected(self) -> None:
        """Begin a connection: whatever was said meanwhile is missing."""
        for group in self._groups.values():
            group.wanted = True

    def take(
        self, group_id: str, seq: int, message_id: int, message: Message | None = None
    ) -> list[Message]:
        """Take a live message, or seq and id of one of ours; return what to show, in order."""
        group = self._groups.get(group_id)
        if group is None:  # nothing is known of it: it begins with what comes first
            self._groups[group_id] = _Group(seq, message_id, wanted=False)
            return [message] if message is not None else []
        if seq <= group.seq:
            if not group.begins_anew(seq, message_id):
                return []
            group.restart(seq, message_id)
        elif 0 < message_id <= group.floor:
            return []
        if len(group.held) < HELD:
            group.held[seq] = message
        found = group.advance()
        if message is None:
            group.id = max(group.id, message_id)
        group.wanted = group.wanted or bool(group.held)
        return found

    def behind(self, group_id: str, seq: int) -> None:
        """Note that messages up to `seq` were left out; or, if more have come, it counts anew."""
        group = self._groups.get(group_id)
        if group is None:
            self.follow(group_id, max(0, seq - 1))
        elif group.seq < seq:
            group.wanted = True
        else:
            group.anew = seq

    def due(self, now: float) -> list[tuple[str, int]]:
        """Return the groups to ask for now, with their seq; each is asked for once at a time."""
        ready = [
            (group_id, group)
            for group_id, group in self._groups.items()
            if group.wanted and not group.asking and group.not_before <= now
        ][: self._room()]
        for _, group in ready:
            group.wanted, group.asking = False, True
        return [(group_id, group.seq) for group_id, group in ready]

    def _room(self) -> int:
        return max(0, AT_ONCE - sum(group.asking for group in self._groups.values()))

    def deadline(self) -> float:
        """Return when `due` has something next; infinity if only an answer can change that."""
        if self._room() == 0:
            return math.inf
        waiting = [each for each in self._groups.values() if each.wanted and not each.asking]
        return min((each.not_before for each in waiting), default=math.inf)

    def synced(
        self, group_id: str, messages: list[Message], has_more: bool, now: float
    ) -> list[Message]:
        """Take what a sync has found, ascending; return the messages to show, in order."""
        group = self._groups.get(group_id)
        if group is None:
            return []
        group.asking = False
        group.failures = 0
        for each in messages:
            if each.seq > group.seq and each.id > group.floor:
                group.held[each.seq] = each
        found = group.advance()
        # What a gap hides may be late by a moment. If it is not there a second later, it never was.
        while group.held:
            if group.doubt != group.seq:
                group.doubt = group.seq
                group.not_before = now + ASK_AGAIN
                group.wanted = True
                return found
            group.seq = min(group.held) - 1
            found += group.advance()
        if has_more:
            group.wanted = True
            if not found:  # or it is asked again and again
                group.not_before = now + ASK_AGAIN
        return found

    def failed(self, group_id: str, now: float) -> None:
        """Note that a sync has failed; it is tried again after a pause."""
        group = self._groups.get(group_id)
        if group is not None:
            group.asking = False
            group.wanted = True
            group.not_before = now + self.pause(group.failures)
            group.failures += 1
