"""How far a client is on its way to what it has missed, while live messages wait; pure."""

import asyncio
from enum import Enum, auto

import structlog

from skyeim_ws.conn.ledger import Delivery

log = structlog.get_logger()


class Wait(Enum):
    """Why live messages wait although nothing older may be on its way yet."""

    LOGIN = auto()
    RECLAIM = auto()


class Step(Enum):
    """What is done for a client whose live messages are held back."""

    HOLD = auto()  # nothing: it is not time yet
    START = auto()  # the next turn of the loop begins with what is due
    READ_QUEUE = auto()  # brings what was queued while nobody told us
    FETCH_UNREAD = auto()  # brings what the Message service has unread
    FETCH_NEWER = auto()  # brings all with a larger id than the client has
    END = auto()  # nothing is held back any more


class Progress:
    """What one connection still has to get before its live messages."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.step = Step.HOLD
        # What follows the present step; the same one again, if it was asked for meanwhile.
        self.due: set[Step] = set()
        self.held: dict[str, Delivery] = {}
        self.waits: set[Wait] = set()
        # Of what is unread the client has all up to `unread_since`. All that has a larger id than
        # `since` is fetched behind it; that is not known if it is what follows the unread ones.
        self.unread_since = 0
        self.since: int | None = None
        self.missed = ""
        self.confirmed = asyncio.Event()
        self.ended = asyncio.Event()

    def set_step(self, step: Step) -> None:
        """Begin a step; none follows the end."""
        if self.step is Step.END:
            raise ValueError(f"a catch-up cannot go from END to {step.name}")
        log.debug("catch_up_step", user=self.user_id, old=self.step.name, new=step.name)
        self.step = step
        if step is Step.END:
            self.ended.set()
