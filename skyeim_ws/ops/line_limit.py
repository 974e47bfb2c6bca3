"""How many lines of a kind a minute may bring, and how many more there would have been; pure."""

from dataclasses import dataclass

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class _Window:
    began: float
    lines: int = 0
    left_out: int = 0


class LineLimit:
    """Admits `limit` lines of each kind in a minute; times are seconds of any monotonic clock."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._windows: dict[str, _Window] = {}

    def admits(self, kind: str, now: float) -> bool:
        """Whether one more line of the kind may be written."""
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window(now)
        if window.lines < self._limit:
            window.lines += 1
            return True
        window.left_out += 1
        return False

    def ended(self, now: float) -> list[tuple[str, int]]:
        """Forget the minutes that are over; return what was left out in them, by kind."""
        over = [
            (kind, window)
            for kind, window in self._windows.items()
            if now - window.began >= WINDOW_SECONDS
        ]
        for kind, _ in over:
            del self._windows[kind]
        return [(kind, window.left_out) for kind, window in over if window.left_out]
