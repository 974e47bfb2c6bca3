"""One write per connection and turn of the loop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Writable(Protocol):
    """Something with a write queue."""

    def write_queued(self) -> None:
        """Write what is queued."""


@dataclass(slots=True)
class Flusher:
    """Collects the connections that have something to write and flushes them once per turn.

    One callback of the loop serves all of them: frames that meet in an outbox within a turn
    leave in one send, and a fan-out to a thousand connections makes one callback, not a thousand.
    """

    call_soon: Callable[[Callable[[], None]], object]
    dirty: list[Writable] = field(default_factory=list)

    def add(self, client: Writable) -> None:
        """Flush the client at the end of this turn."""
        if not self.dirty:
            self.call_soon(self._flush)
        self.dirty.append(client)

    def _flush(self) -> None:
        batch, self.dirty = self.dirty, []
        for client in batch:
            client.write_queued()
