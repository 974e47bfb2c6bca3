"""Lines of the log for what has taken longer than it should."""

from dataclasses import dataclass

import structlog

from skyeim_ws.contract.names import SLOW_LOG

log = structlog.get_logger(SLOW_LOG)


def duration(seconds: float) -> str:
    """Return a time as go-zero's logs write it: milliseconds, such as `12.3ms`."""
    return f"{seconds * 1000:.1f}ms"


@dataclass(frozen=True, slots=True)
class SlowLog:
    """Logs what takes `limit` seconds or more; 0 is never."""

    limit: float = 0.0

    def note(self, event: str, seconds: float, **fields: object) -> None:
        """Log an event that has taken so long, if that is too long."""
        if self.limit and seconds >= self.limit:
            log.warning(event, duration=duration(seconds), **fields)
