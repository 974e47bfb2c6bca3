"""The lines of the chat: who, when, what, and how far a message of ours has come."""

import time
import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class Tick(StrEnum):
    """How far a message of ours has come, as it is shown."""

    WAITING = "…"
    SENT = "✓"
    DELIVERED = "✓✓"
    READ = "✔✔"
    FAILED = "✗"


_OVERRIDES = "\u202d\u202e"
"""They would turn around what stands behind the text: the names and ticks of ours."""

_CONTENT_NAMES = {2: "picture", 3: "file", 4: "voice", 5: "video"}


@dataclass(slots=True, eq=False)
class Line:
    """A message, or with `who` empty a note of the program; `where` is the group, or the receiver.

    `when` is in Unix seconds. `tick` is there for messages of ours, with `why` if it has failed.
    `id` is that of a message that has come.
    """

    text: str
    when: float = 0.0
    who: str = ""
    where: str = ""
    user_id: int = 0
    to_user_id: int = 0
    tick: Tick | None = None
    why: str = ""
    id: int = 0

    @property
    def clock(self) -> str:
        """When it was, short: the time of today, else with the date."""
        at, now = time.localtime(self.when), time.localtime()
        today = at[:3] == now[:3]
        return time.strftime("%H:%M" if today else "%b %d %H:%M", at)

    @property
    def head(self) -> str:
        """Who has written it, and where."""
        return f"{self.who} → {self.where}" if self.where else self.who

    @property
    def tail(self) -> str:
        """What is to be said behind the text: why it was not sent."""
        return f"\n      not sent: {self.why}" if self.why else ""

    def __str__(self) -> str:
        if not self.who:
            return f"* {self.text}"
        return f"{self.clock} {self.tick or '':2} {self.head}: {self.text}{self.tail}"


def clean(value: object) -> str:
    """Return text from elsewhere without what could steer the terminal; all else is shown."""
    text = str(value).expandtabs(4).replace("\r\n", "\n")
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in "\n\u2028\u2029":
        return "\n    "
    steers = unicodedata.category(character) in ("Cc", "Cs") or character in _OVERRIDES
    return "\ufffd" if steers else character


def content(text: str, content_type: int) -> str:
    """Return what a message says, for people."""
    named = _CONTENT_NAMES.get(content_type)
    return f"[{named}] {clean(text)}" if named else clean(text)
