"""Messages that have no `sent` yet: kept in order, written again until they have one.

Of each conversation one message at a time is on its way. So a message that is refused for the
moment (busy, rate_limited, rpc_error) is never overtaken by the one behind it.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from skyeim_ws.client.rules import TRY_AGAIN, Random, SkyeError, backoff
from skyeim_ws.contract.codes import Reason

ANSWER_DEADLINE = 15.0
"""Seconds without an answer, then a message is written again."""

IN_FLIGHT = 32
"""Conversations that are being written to at a time."""


@dataclass(slots=True)
class Entry:
    """A message that waits for its answer; `written_at` is None while it is not on its way."""

    type: str
    data: dict[str, Any]
    conversation: int | str
    written_at: float | None = None
    not_before: float = 0.0
    failures: int = 0

    def waits(self, now: float) -> bool:
        """Whether an answer may still come."""
        return self.written_at is not None and now < self.written_at + ANSWER_DEADLINE


@dataclass(slots=True)
class Outbox:
    """The messages of all conversations, at most `limit` of them."""

    limit: int
    random: Random
    _entries: dict[str, Entry] = field(default_factory=dict)
    _conversations: dict[int | str, dict[str, Entry]] = field(default_factory=dict)
    _paused_until: float = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, msg_id: object) -> bool:
        return msg_id in self._entries

    def pending(self) -> list[dict[str, Any]]:
        """Return what is kept as plain objects, to be given to `add` after a restart."""
        return [{"type": each.type, "data": each.data} for each in self._entries.values()]

    def add(self, kind: str, data: dict[str, Any]) -> None:
        """Keep a message until it is answered for good; raises SkyeError when it is full."""
        msg_id = data["msgId"]
        if msg_id in self._entries:
            raise SkyeError("invalid", "msg_id: it is being sent")
        if len(self._entries) >= self.limit:
            raise SkyeError("queue_full", f"more than {self.limit} messages wait to be sent")
        entry = Entry(kind, data, data["toUserId"] if kind == "chat" else data["groupId"])
        self._entries[msg_id] = entry
        self._conversations.setdefault(entry.conversation, {})[msg_id] = entry

    def _heads(self) -> list[Entry]:
        return [next(iter(line.values())) for line in self._conversations.values()]

    def due(self, now: float) -> list[Entry]:
        """Return the messages to write now, and note that they are on their way."""
        if now < self._paused_until:
            return []
        heads = self._heads()
        room = IN_FLIGHT - sum(entry.waits(now) for entry in heads)
        ready = [each for each in heads if not each.waits(now) and each.not_before <= now]
        found = ready[: max(room, 0)]
        for entry in found:
            entry.written_at = now
        return found

    def deadline(self, now: float) -> float:
        """Return when `due` has something next; infinity if only an answer can change that."""
        heads = self._heads()
        full = sum(entry.waits(now) for entry in heads) >= IN_FLIGHT
        times = [
            entry.not_before if entry.written_at is None else entry.written_at + ANSWER_DEADLINE
            for entry in heads
            if entry.written_at is not None or not full
        ]
        return max(min(times, default=math.inf), self._paused_until)

    def lost(self) -> None:
        """Have everything written again on the next connection: this one is gone."""
        self._paused_until = 0.0
        for entry in self._entries.values():
            entry.written_at = None

    def answered(self, data: dict[str, Any], now: float) -> tuple[Entry, SkyeError | None] | None:
        """Take an ack; return the message when this is the last word about it, and its error."""
        entry = self._entries.get(data.get("msgId", ""))
        status, reason = data.get("status"), data.get("reason")
        if entry is None or status not in ("sent", "failed"):
            return None
        if status == "failed" and reason in TRY_AGAIN:
            pause = backoff(entry.failures, self.random)
            entry.failures += 1
            entry.written_at = None
            entry.not_before = now + pause
            if reason == Reason.RATE_LIMITED:  # the limit is of the whole connection
                self._paused_until = now + pause
            return None
        self._remove(entry)
        return entry, SkyeError(reason or "invalid") if status == "failed" else None

    def clear(self) -> list[str]:
        """Give every message up; return their msgIds."""
        given_up = list(self._entries)
        self._entries.clear()
        self._conversations.clear()
        return given_up

    def _remove(self, entry: Entry) -> None:
        msg_id = entry.data["msgId"]
        del self._entries[msg_id]
        line = self._conversations[entry.conversation]
        del line[msg_id]
        if not line:
            del self._conversations[entry.conversation]
