"""What all connections of a process share, and what they report; `C` is their type."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.limits import Limits
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.timer_wheel import Scheduled, TimerWheel

C = TypeVar("C", bound=Scheduled)
C_contra = TypeVar("C_contra", contravariant=True)


class SessionEvents(Protocol[C_contra]):
    """What a connection reports."""

    async def opened(self, client: C_contra) -> None:
        """Set the session up; frames are not read before this returns."""

    def received(self, client: C_contra, text: str) -> None:
        """Handle a text frame; never waits."""

    def confirmed(self, client: C_contra, deliveries: list[Delivery]) -> None:
        """Note that the client has these messages."""

    def ended(self, client: C_contra, undelivered: list[Delivery]) -> None:
        """Take the client out of service; called once, when it begins to close."""


@dataclass(frozen=True, slots=True)
class ClientContext(Generic[C]):
    """What all connections of a process share."""

    events: SessionEvents[C]
    flusher: Flusher
    poller: Poller
    limits: Limits
    stats: Stats
    clock: Callable[[], float]
    """Monotonic seconds; the IOLoop's time."""
    timer_wheel: TimerWheel[C] = field(default_factory=TimerWheel)
    awaiting_confirmation: set[C] = field(default_factory=set)
    """Connections with unconfirmed messages that no ping covers yet."""
