"""The states of a connection, and the one direction in which it goes through them."""

from enum import IntEnum


class State(IntEnum):
    """The life of a connection; it only moves forward."""

    CONNECTING = 0  # upgraded; frames wait until the session is set up
    OPEN = 1
    DRAINING = 2  # our close frame is on its way; nothing new is queued
    CLOSED = 3

    def advanced_to(self, later: "State") -> "State":
        """Return the later state; raises ValueError if it is not later."""
        if later <= self:
            raise ValueError(f"a connection cannot go from {self.name} to {later.name}")
        return later
