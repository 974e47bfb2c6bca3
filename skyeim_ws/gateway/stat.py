"""What a gateway has done in the last minute, in one line of the log."""

from collections.abc import Callable, Mapping
from typing import Protocol

from skyeim_ws.config.log import LogConf
from skyeim_ws.conn.stats import Stats
from skyeim_ws.ops import minute

Gauges = Callable[[], Mapping[str, int | float]]

_SHOWN = {
    "logins": "connections_opened",
    "logouts": "connections_closed",
    "kicked": "kicked",
    "frames_in": "frames_received",
    "frames_out": "frames_queued",
    "confirmed": "deliveries_confirmed",
    "fan_outs": "group_routed",
    "offline_pushed": "offline_pushed",
}
"""The counters that each line has; of the others it has those that have counted."""

_NO_QUEUES = frozenset(
    {"connections", "groups_active", "memberships_remembered", "redis_healthy"}
    | {"redis_operations_dropped", "redis_operations_failed"}
    | {"message_trace_lines_dropped", "message_trace_lines_written"}
)
"""The gauges that tell nothing of what waits."""


class Writer(Protocol):
    """What stores messages."""

    stored: int
    """How many, since the start."""


class Minutes:
    """Says what has happened since it was asked last."""

    def __init__(self, stats: Stats, gauges: Gauges, writer: Writer) -> None:
        self._stats = stats
        self._gauges = gauges
        self._writer = writer
        self._usage = minute.Usage(stats.timings)
        self._last = self._counted()
        self._closes = dict(stats.closes)

    def line(self) -> dict[str, object]:
        """Return the fields of the line, and count anew from here."""
        counted, closes, measured = self._counted(), dict(self._stats.closes), self._gauges()
        new = {name: value - self._last[name] for name, value in counted.items()}
        ended = {code: count - self._closes.get(code, 0) for code, count in closes.items()}
        self._last, self._closes = counted, closes
        others = new.keys() - set(_SHOWN.values()) - {"stored"}
        return {
            "connections": measured["connections"],
            "messages": new["stored"],
            **{shown: new[name] for shown, name in _SHOWN.items()},
            "closes": {str(code): count for code, count in sorted(ended.items()) if count},
            "others": {name: new[name] for name in sorted(others) if new[name]},
            "queues": {
                name: value for name, value in measured.items() if value and name not in _NO_QUEUES
            },
            **self._usage.fields(),
        }

    def _counted(self) -> dict[str, int]:
        return self._stats.counters() | {"stored": self._writer.stored}


async def tell_minutes(conf: LogConf, stats: Stats, gauges: Gauges, writer: Writer) -> None:
    """Log the line each minute, for good, if that is wanted."""
    if conf.stat:
        await minute.tell(Minutes(stats, gauges, writer).line)
