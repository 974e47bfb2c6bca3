"""Who is online and who is typing: small talk that is never stored, and may be lost."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from skyeim_ws.client.events import Message, Presence, Typing
from skyeim_ws.client.rules import FRAME_IDS

TYPING_EVERY = 3.0
"""Seconds between two notices that we send."""

TYPING_SHOWN = 6.0
"""Seconds that a notice of somebody else is shown."""

ASK_EVERY = 60.0
"""Seconds; a lost `online` or `offline` is made good by then."""

TARGETS = 1000
"""How many were told of our typing is remembered."""


@dataclass(slots=True)
class TypingNotices:
    """Typing, both ways."""

    _told: dict[int | str, float] = field(default_factory=dict)
    _shown: dict[tuple[int, str], float] = field(default_factory=dict)  # until when

    def may_tell(self, target: int | str, now: float) -> bool:
        """Return whether a notice to this target is due."""
        if now < self._told.get(target, -math.inf) + TYPING_EVERY:
            return False
        self._told.pop(target, None)
        self._told[target] = now
        if len(self._told) > TARGETS:
            del self._told[next(iter(self._told))]
        return True

    def sent(self, target: int | str) -> None:
        """Note that we have sent a message: the next notice need not wait."""
        self._told.pop(target, None)

    def noticed(self, user_id: int, group_id: str, now: float) -> list[Typing]:
        """Take the notice of somebody who types; return what to tell."""
        known = (user_id, group_id) in self._shown
        self._shown[user_id, group_id] = now + TYPING_SHOWN
        return [] if known else [Typing(user_id, group_id, active=True)]

    def wrote(self, message: Message) -> list[Typing]:
        """Note that somebody has sent what was being typed; return what to tell."""
        return self._ended(message.from_user_id, message.group_id)

    def _ended(self, user_id: int, group_id: str) -> list[Typing]:
        gone = self._shown.pop((user_id, group_id), None) is not None
        return [Typing(user_id, group_id, active=False)] if gone else []

    def expired(self, now: float) -> list[Typing]:
        """Return who has stopped without a word."""
        late = [key for key, until in self._shown.items() if until <= now]
        return [event for key in late for event in self._ended(*key)]

    def deadline(self) -> float:
        """Return when the next one expires; infinity for never."""
        return min(self._shown.values(), default=math.inf)


@dataclass(slots=True)
class Watch:
    """Presence of the users who are watched; unknown while there is no connection."""

    _online: dict[int, bool | None] = field(default_factory=dict)
    _asked: list[list[int]] = field(default_factory=list)  # whose answer is to come, in order
    _ask_at: float = math.inf

    def of(self, user_id: int) -> bool | None:
        """Return whether a user is online, or None."""
        return self._online.get(user_id)

    def watch(self, user_ids: Iterable[int], now: float) -> None:
        """Follow these users too."""
        for user_id in user_ids:
            self._online.setdefault(user_id, None)
        self._ask_at = now

    def connected(self, now: float) -> None:
        """Begin a connection: all are asked for."""
        self._asked = []
        self._ask_at = now

    def lost(self) -> list[Presence]:
        """Note that nothing is known any more; return what to tell."""
        self._asked = []
        self._ask_at = math.inf
        return self._set(self._online, None)

    def due(self, now: float) -> list[list[int]]:
        """Return the user ids of the questions to write now."""
        if now < self._ask_at:
            return []
        everyone = list(self._online)
        self._ask_at = now + ASK_EVERY if everyone else math.inf
        chunks = [everyone[at : at + FRAME_IDS] for at in range(0, len(everyone), FRAME_IDS)]
        self._asked += chunks
        return chunks

    def answered(self, online: list[int]) -> list[Presence]:
        """Take the answer to the oldest question; return what has changed."""
        asked = self._asked.pop(0) if self._asked else online
        here = set(online)
        return [event for user_id in asked for event in self._set([user_id], user_id in here)]

    def came_or_went(self, user_id: int, online: bool) -> list[Presence]:
        """Take `online` or `offline`; return what has changed."""
        return self._set([user_id], online)

    def _set(self, user_ids: Iterable[int], online: bool | None) -> list[Presence]:
        changed = [each for each in user_ids if self._online.get(each, ...) != online]
        self._online.update((user_id, online) for user_id in changed)
        return [Presence(user_id, online) for user_id in changed]

    def deadline(self) -> float:
        """Return when to ask next; infinity for never."""
        return self._ask_at


@dataclass(slots=True)
class Talk:
    """Both together."""

    typing: TypingNotices = field(default_factory=TypingNotices)
    presence: Watch = field(default_factory=Watch)

    def take(
        self, kind: str, data: dict[str, Any], now: float
    ) -> list[Typing] | list[Presence] | None:
        """Take a frame of either kind, and return what to tell; None for any other."""
        match kind:
            case "typing":
                return self.typing.noticed(data["fromUserId"], data.get("groupId", ""), now)
            case "online" | "offline":
                return self.presence.came_or_went(data["userId"], kind == "online")
            case "presence":
                return self.presence.answered(data.get("online") or [])
        return None

    def lost(self) -> list[Typing | Presence]:
        """Note that there is no connection any more; return what to tell."""
        return [*self.presence.lost(), *self.typing.expired(math.inf)]
