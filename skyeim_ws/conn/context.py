"""What all connections of a process share, and what they report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.limits import Limits
from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.timer_wheel import TimerWheel

if TYPE_CHECKING:
    from skyeim_ws.conn.client import Client


class SessionEvents(Protocol):
    """What a connection reports."""

    async def opened(self, client: Client) -> None:
        """Set the session up; frames are not read before this returns."""

    def received(self, client: Client, text: str) -> None:
        """Handle a text frame; never waits."""

    def confirmed(self, client: Client, deliveries: list[Delivery]) -> None:
        """Note that the client has these messages."""

    def ended(self, client: Client, undelivered: list[Delivery]) -> None:
        """Take the client out of service; called once, when it begins to close."""


@dataclass(frozen=True, slots=True)
class ClientContext:
    """What all connections of a process share."""

    events: SessionEvents
    flusher: Flusher
    limits: Limits
    stats: Stats
    clock: Callable[[], float]
    """Monotonic seconds; the IOLoop's time."""
    timer_wheel: TimerWheel = field(default_factory=TimerWheel)
    awaiting_confirmation: set[Client] = field(default_factory=set)
    """Connections with unconfirmed messages that no ping covers yet."""
