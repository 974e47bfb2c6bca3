"""What was promised and what was kept: the books of all clients together."""

import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

LAST_FAULTS = 3
CALM_SECONDS = 5.0

Conversation = tuple[int, int]  # sender, receiver


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a client means to send; to a user, or to the group if `to` is 0."""

    msg_id: str
    sender: int
    to: int


@dataclass(slots=True)
class Trouble:
    """A fault, from its beginning until all was healed; in monotonic seconds."""

    began: float
    healed: float = math.inf


@dataclass(slots=True)
class SetBack:
    """The counter of the group was set back: which message was the newest then, and its seq."""

    newest_id: int
    last_seq: int
    first_seqs: dict[int, int] = field(default_factory=dict)
    """The seq of the first newer message that came live, of each who had one."""

    @property
    def heard(self) -> int:
        """How many have heard a message before the counter was where it had been."""
        return sum(seq <= self.last_seq for seq in self.first_seqs.values())


@dataclass(slots=True)
class Book:
    """Who was told what; `promised` has the id of each message that was `sent`."""

    promised: dict[str, int] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    received: defaultdict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    of_group: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The ids of the messages of the group that each has."""
    set_back: "SetBack | None" = None
    room: float = math.inf
    """So many messages may be promised before the next fault, so that on a slow machine too each
    fault meets some."""
    newest: defaultdict[Conversation, int] = field(default_factory=lambda: defaultdict(int))
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    came: dict[tuple[int, str], float] = field(default_factory=dict)
    """When each private message came last, in monotonic seconds."""
    faults: list[Trouble] = field(default_factory=list)
    again: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What came again on each connection though it was confirmed long ago."""
    emptied_at: float = 0
    late_below: float = 0
    """The id up to which a message may come late: its queue has gone with the data of Redis."""

    def acked(self, message: Message, number: int) -> None:
        """Note that the gateway has promised to bring a message."""
        known = self.promised.setdefault(message.msg_id, number)
        self.messages[message.msg_id] = message
        if known != number:
            self.wrong.append(f"{message.msg_id} was acked as {known} and as {number}")

    def arrived(
        self,
        receiver: int,
        sender: int,
        msg_id: str,
        number: int,
        *,
        old: bool,
        connection: str = "",
    ) -> None:
        """Note that a private message has come; `old` if in a window that was asked for.

        Such a window goes before what is there already; all else has to be in order.
        """
        mine = self.received[receiver]
        now = time.monotonic()
        before, self.came[receiver, msg_id] = self.came.get((receiver, msg_id), 0.0), now
        if msg_id in mine:
            self.counts["duplicated"] += 1
            # An emptied Redis brings all again, once.
            if self.emptied_at < before < self.confirmed_before:
                what = f"{msg_id} (id {number}) to {receiver} on {connection}"
                self.again[connection].append(f"{what} after {now - before:.1f} s")
            return
        mine[msg_id] = number
        conversation = (sender, receiver)
        if not old and self.late_below < number < self.newest[conversation]:
            self.wrong.append(
                f"{msg_id} (id {number}) came to {receiver} after id {self.newest[conversation]}"
            )
        self.newest[conversation] = max(number, self.newest[conversation])

    @property
    def confirmed_before(self) -> float:
        """Until when all that has come is confirmed for good.

        A watermark is written every 3 s, but not while Redis or the services are away, nor while
        another node may hold something: so the last faults may have stood in its way, and so may
        one before them for as long as it took, if it took long to heal.
        """
        if len(self.faults) < LAST_FAULTS:
            return 0.0
        left, calm_until = CALM_SECONDS, self.faults[-LAST_FAULTS].began
        long = (each for each in self.faults if each.healed - each.began > CALM_SECONDS)
        for fault in reversed([each for each in long if each.healed <= calm_until]):
            calm = calm_until - fault.healed
            if calm >= left:
                break
            left, calm_until = left - calm, fault.began
        return calm_until - left

    def of_group_arrived(self, receiver: int, number: int, seq: int) -> None:
        """Note that a message of the group has come live."""
        self.of_group[receiver].add(number)
        if self.set_back is not None and number > self.set_back.newest_id:
            self.set_back.first_seqs.setdefault(receiver, seq)

    def counts_anew(self, newest_id: int, last_seq: int) -> None:
        """Note that the group is about to count from an earlier seq on."""
        self.set_back = SetBack(newest_id, last_seq)

    def emptied(self, *, over: bool) -> None:
        """Note that Redis loses its data: what waits in a queue comes late, from storage."""
        private = [self.promised[each.msg_id] for each in self.messages.values() if each.to]
        self.emptied_at = time.monotonic()
        self.late_below = max(private, default=0) if over else math.inf

    @property
    def undelivered(self) -> list[Message]:
        """The private messages that were promised and have not arrived."""
        return [
            message
            for message in self.messages.values()
            if message.to and message.msg_id not in self.received[message.to]
        ]
