"""Counters of the live connections: plain integers, cheap enough for every frame."""

from collections import Counter
from dataclasses import dataclass, field, fields

from skyeim_ws.contract.message_trace import MessageTrace
from skyeim_ws.contract.spans import Tracer
from skyeim_ws.contract.timing import Timings


@dataclass(slots=True)
class Stats:
    """What happened since the start; exported as metrics elsewhere."""

    connections_opened: int = 0
    connections_closed: int = 0
    kicked: int = 0
    handshakes_dropped: int = 0
    logins_limited: int = 0
    calls_limited: int = 0
    accept_pauses: int = 0
    frames_received: int = 0
    frames_queued: int = 0
    frames_shed: int = 0
    group_frames_folded: int = 0
    slow_consumers: int = 0
    flooding: int = 0
    heartbeat_timeouts: int = 0
    rate_limited: int = 0
    busy: int = 0
    deliveries_confirmed: int = 0
    deliveries_returned: int = 0
    offline_pushed: int = 0
    group_routed: int = 0
    group_dropped: int = 0
    groups_refused: int = 0
    group_seqs_refused: int = 0
    typing_refused: int = 0
    closes: Counter[int] = field(default_factory=Counter)
    """The connections that have ended, by close code."""
    refusals: Counter[str] = field(default_factory=Counter)
    """The requests of clients that were answered with an error, by reason."""
    timings: Timings = field(default_factory=Timings)
    trace: MessageTrace = field(default_factory=MessageTrace)
    tracer: Tracer = field(default_factory=Tracer)

    def counters(self) -> dict[str, int]:
        """Return those that are plain numbers, by name."""
        found = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in found if isinstance(value, int)}
