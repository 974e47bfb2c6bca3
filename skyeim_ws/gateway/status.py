"""How a gateway does, in one line for `systemctl status`."""

from collections.abc import Callable

from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.draining import Drain


class Status:
    """Says it with the rates since the last time; `clock` is in seconds."""

    def __init__(self, hub: Hub, stats: Stats, drain: Drain, clock: Callable[[], float]) -> None:
        self._hub = hub
        self._stats = stats
        self._drain = drain
        self._clock = clock
        self._last = clock(), self._counted()

    def __call__(self) -> str:
        """Return the line, and count anew from here."""
        (then, before), self._last = self._last, (self._clock(), self._counted())
        now, counted = self._last
        seconds = max(now - then, 1e-3)
        logins, read, queued = (
            round((new - old) / seconds) for old, new in zip(before, counted, strict=True)
        )
        state = "stopping: " if self._drain.stopping else "draining: " if self._drain.idle else ""
        return (
            f"{state}{len(self._hub)} connections; "
            f"per second {logins} logins, {read} frames in, {queued} frames out"
        )

    def _counted(self) -> tuple[int, int, int]:
        stats = self._stats
        return stats.connections_opened, stats.frames_received, stats.frames_queued
