"""Private messages that came: each is shown once, in the order of ids, and confirmed in batches."""

import math
from dataclasses import dataclass, field
from typing import Any

from skyeim_ws.client.events import Message
from skyeim_ws.client.rules import FRAME_IDS
from skyeim_ws.contract.codes import ERROR_CODES, Reason

REMEMBERED = 20_000
"""The msgIds by which duplicates are known."""

ACK_DELAY = 0.02
"""Seconds that a confirmation waits for others."""

NOTHING_CAME = 1.0
"""Seconds until the next pull, if a window that is not the last was empty."""

HOLD_LONGEST = 30.0
"""Seconds that messages wait for older ones."""

_BUSY = ERROR_CODES[Reason.BUSY]
PULL_AGAIN = {_BUSY: 1.0, ERROR_CODES[Reason.RPC_ERROR]: 10.0}
"""Error code -> seconds after which a refused pull is asked for again."""


@dataclass(slots=True)
class Recent:
    """A set that forgets its oldest members."""

    limit: int = REMEMBERED
    _members: dict[str, None] = field(default_factory=dict)

    def add(self, member: str) -> bool:
        """Add a member; return whether it is new."""
        if member in self._members:
            return False
        self._members[member] = None
        if len(self._members) > self.limit:
            del self._members[next(iter(self._members))]
        return True


@dataclass(slots=True)
class Inbox:
    """What has come, what waits for older messages, and what is to be confirmed."""

    seen: Recent
    newest_id: int | None = None
    _held: list[Message] | None = None  # while older ones are being pulled
    _held_since: float = 0.0
    _to_come: int = 0  # messages of the window that is being pushed
    _pulling: bool = False
    _pull_at: float = math.inf
    _acks: list[str] = field(default_factory=list)
    _acks_at: float = math.inf

    def connected(self, now: float) -> None:
        """Begin a connection. What is held stays so until a pull has ended."""
        self._pulling = False
        self._to_come = 0
        self._pull_at = math.inf
        if self.newest_id is not None:  # with `resume` only newer messages come by themselves
            self._pull(now)

    def window(self, push_count: int, has_more: bool, now: float) -> None:
        """Take `offline_messages`: its window follows, and perhaps more must be asked for."""
        self._pulling = False
        self._to_come = push_count
        if has_more:
            self._pull(now if push_count else now + NOTHING_CAME)

    def refused(self, code: int, now: float) -> bool:
        """Take an error; return whether it was about a pull, which is then asked for again."""
        if not self._pulling or code not in PULL_AGAIN:
            return False
        self._pull_at = now + PULL_AGAIN[code]
        # What is held waits for a pull that came too early, not for a service that is away.
        self._pulling = code == _BUSY
        return True

    def pull_due(self, now: float) -> bool:
        """Return whether to ask for older messages now."""
        if now < self._pull_at:
            return False
        self._pull(now)
        self._pull_at = math.inf
        return True

    def _pull(self, now: float) -> None:
        self._pull_at = now
        self._pulling = True
        if self._held is None:
            self._held = []
            self._held_since = now

    def take(self, message: Message, now: float) -> list[Message]:
        """Take a private message; return those to show now, in order."""
        self._confirm(message.msg_id, now)
        self.newest_id = max(self.newest_id or 0, message.id)
        fresh = self.seen.add(message.msg_id)
        if self._held is None:
            return [message] if fresh else []
        if fresh:
            self._held.append(message)
        self._to_come = max(self._to_come - 1, 0)
        return self.release(now)

    def release(self, now: float) -> list[Message]:
        """Return what was held, sorted, once nothing older is on its way (or takes too long)."""
        if self._held is None:
            return []
        complete = not self._pulling and self._to_come == 0
        if not complete and now < self._held_since + HOLD_LONGEST:
            return []
        messages = sorted(self._held, key=lambda message: message.id)
        self._held = None
        return messages

    def _confirm(self, msg_id: str, now: float) -> None:
        self._acks.append(msg_id)
        self._acks_at = min(self._acks_at, now + ACK_DELAY)

    def acks_due(self, now: float) -> list[dict[str, Any]]:
        """Return the `data` of the acks to write now."""
        if now < self._acks_at and len(self._acks) < FRAME_IDS:
            return []
        waiting, self._acks, self._acks_at = self._acks, [], math.inf
        chunks = [waiting[at : at + FRAME_IDS] for at in range(0, len(waiting), FRAME_IDS)]
        return [
            ({"msgId": chunk[0]} if len(chunk) == 1 else {"msgIds": chunk})
            | {"status": "delivered"}
            for chunk in chunks
        ]

    def deadline(self) -> float:
        """Return when something is due next; infinity for never."""
        held = math.inf if self._held is None else self._held_since + HOLD_LONGEST
        return min(self._acks_at, self._pull_at, held)
