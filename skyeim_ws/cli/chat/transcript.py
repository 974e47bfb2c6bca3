"""The messages that are shown: each once, by the name of its writer, ours with their ticks."""

from dataclasses import dataclass, field
from typing import Protocol

from skyeim_ws.cli.chat.lines import Line, Tick, content
from skyeim_ws.cli.chat.people import People, Target
from skyeim_ws.client import Message, Read

OURS = 1000
"""Messages of ours whose ticks may still change."""

SHOWN = 20_000
"""The msgIds by which history and live messages are told apart."""


class Screen(Protocol):
    """Where lines are shown."""

    def add(self, line: Line) -> None:
        """Show a line at the end."""

    def insert(self, line: Line) -> None:
        """Show a message behind the last one with a smaller id."""

    def changed(self, line: Line | None = None) -> None:
        """Show anew: this line, or the status."""


@dataclass(slots=True)
class Transcript:
    """What one user has been shown."""

    people: People
    screen: Screen
    oldest: dict[Target, int] = field(default_factory=dict)
    """For each conversation the smallest id that is shown."""
    newest_seq: dict[str, int] = field(default_factory=dict)
    """For each group the largest seq that is shown."""
    _ours: dict[str, Line] = field(default_factory=dict)
    _shown: dict[str, None] = field(default_factory=dict)

    def shows(self, message: Message) -> bool:
        """Whether a message is shown already."""
        return message.msg_id in self._shown

    def show(self, message: Message, *, live: bool = False) -> None:
        """Show a message, unless it is; a live one among those of the start, by its id."""
        if message.seq:
            newest = self.newest_seq.get(message.group_id, 0)
            self.newest_seq[message.group_id] = max(newest, message.seq)
        mine = message.from_user_id == self.people.user_id
        peer = message.to_user_id if mine else message.from_user_id
        target = Target(group_id=message.group_id) if message.group_id else Target(peer)
        self.oldest[target] = min(message.id, self.oldest.get(target, message.id))
        if not self._remember(message.msg_id):
            return
        where = self.people.group(message.group_id) if message.group_id else ""
        if mine and not where:
            where = self.people.name(message.to_user_id)
        place = self.screen.insert if live else self.screen.add
        place(
            Line(
                text=content(message.content, message.content_type),
                id=message.id,
                when=message.created_at,
                who=self.people.name(message.from_user_id),
                where=where,
                user_id=0 if mine else message.from_user_id,
                tick=(Tick.READ if message.status == 1 else Tick.SENT) if mine else None,
            )
        )

    def _remember(self, msg_id: str) -> bool:
        if msg_id in self._shown:
            return False
        self._shown[msg_id] = None
        if len(self._shown) > SHOWN:
            del self._shown[next(iter(self._shown))]
        return True

    def add_ours(self, msg_id: str, line: Line) -> None:
        """Show a message of ours that is under way."""
        self._remember(msg_id)
        self._ours[msg_id] = line
        if len(self._ours) > OURS:
            del self._ours[next(iter(self._ours))]
        self.screen.add(line)

    def tick(self, msg_id: str, tick: Tick) -> None:
        """Note how far a message of ours has come."""
        line = self._ours.get(msg_id)
        if line is not None and line.tick is not Tick.READ:
            line.tick = tick
            self.screen.changed(line)

    def read_by(self, event: Read) -> None:
        """Note that messages of ours were read."""
        ids = event.msg_ids
        if ids is None:
            ids = tuple(key for key, each in self._ours.items() if each.to_user_id == event.user_id)
        for msg_id in ids:
            self.tick(msg_id, Tick.READ)
