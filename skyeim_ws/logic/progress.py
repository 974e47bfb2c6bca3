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
    START = auto()  # what is due begins with the next turn of the loop
    READ_QUEUE = auto()  # the client gets what was queued while nobody told this node
    FETCH_UNREAD = auto()  # it gets what the Message service has unread
    FETCH_NEWER = auto()  # it gets all messages with an id above those that it has
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
        # First the client gets what is unread, then all messages with an id above `since`; None
        # means that the unread ones have yet to show where that is. `reached` is the last id that
        # was written to it; 0 before the first one.
        self.since: int | None = None
        self.reached = 0
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
