"""What was promised and what was kept: the books of all clients together."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

Conversation = tuple[int, int]  # sender, receiver


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a client means to send; to a user, or to the group if `to` is 0."""

    msg_id: str
    sender: int
    to: int


@dataclass(slots=True)
class Book:
    """Who was told what; `promised` has the id (for the group: the seq) of each `sent` message."""

    promised: dict[str, int] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    received: defaultdict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    seqs: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    newest: defaultdict[Conversation, int] = field(default_factory=lambda: defaultdict(int))
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def acked(self, message: Message, number: int) -> None:
        """Note that the gateway has promised to bring a message."""
        known = self.promised.setdefault(message.msg_id, number)
        self.messages[message.msg_id] = message
        if known != number:
            self.wrong.append(f"{message.msg_id} was acked as {known} and as {number}")

    def arrived(self, receiver: int, sender: int, msg_id: str, number: int, *, old: bool) -> None:
        """Note that a private message has come; `old` if in a window that was asked for.

        Such a window goes before what is there already; all else has to be in order.
        """
        mine = self.received[receiver]
        if msg_id in mine:
            self.counts["duplicated"] += 1
            return
        mine[msg_id] = number
        conversation = (sender, receiver)
        if not old and number < self.newest[conversation]:
            self.wrong.append(
                f"{msg_id} (id {number}) came to {receiver} after id {self.newest[conversation]}"
            )
        self.newest[conversation] = max(number, self.newest[conversation])

    @property
    def undelivered(self) -> list[Message]:
        """The private messages that were promised and have not arrived."""
        return [
            message
            for message in self.messages.values()
            if message.to and message.msg_id not in self.received[message.to]
        ]
