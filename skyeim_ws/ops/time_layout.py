"""Times as Go writes them: a layout shows how 15:04:05 on January 2, 2006 would look; pure."""

import re
from collections.abc import Callable
from datetime import datetime

LINES = "2006-01-02T15:04:05.000Z07:00"
"""go-zero's default for the times in a log."""

FILES = "2006-01-02T15:04:05Z07:00"
"""go-zero's default for the times in the names of files."""

_PARTS: dict[str, Callable[[datetime], str]] = {
    "2006": lambda t: f"{t.year:04}",
    "06": lambda t: f"{t.year % 100:02}",
    "January": lambda t: t.strftime("%B"),
    "Jan": lambda t: t.strftime("%b"),
    "Monday": lambda t: t.strftime("%A"),
    "Mon": lambda t: t.strftime("%a"),
    "MST": lambda t: t.strftime("%Z"),
    "01": lambda t: f"{t.month:02}",
    "002": lambda t: t.strftime("%j"),
    "02": lambda t: f"{t.day:02}",
    "_2": lambda t: f"{t.day:2}",
    "03": lambda t: f"{(t.hour - 1) % 12 + 1:02}",
    "04": lambda t: f"{t.minute:02}",
    "05": lambda t: f"{t.second:02}",
    "15": lambda t: f"{t.hour:02}",
    "PM": lambda t: "AM" if t.hour < 12 else "PM",
    "pm": lambda t: "am" if t.hour < 12 else "pm",
    "1": lambda t: f"{t.month}",
    "2": lambda t: f"{t.day}",
    "3": lambda t: f"{(t.hour - 1) % 12 + 1}",
    "4": lambda t: f"{t.minute}",
    "5": lambda t: f"{t.second}",
    "Z07:00": lambda t: _zone(t, ":") if t.utcoffset() else "Z",
    "Z0700": lambda t: _zone(t, "") if t.utcoffset() else "Z",
    "-07:00": lambda t: _zone(t, ":"),
    "-0700": lambda t: _zone(t, ""),
    "-07": lambda t: _zone(t, "")[:3],
}
# The longest first: `2006` is a year, and no day with something behind it.
_PART = re.compile("|".join(map(re.escape, sorted(_PARTS, key=len, reverse=True))) + r"|[.,][09]+")


def formatter(layout: str) -> Callable[[float], str]:
    """Return what writes a Unix time by the layout, in the zone of this machine."""
    pieces: list[str | Callable[[datetime], str]] = []
    fractions: list[Callable[[datetime], str]] = []
    end = 0
    for found in _PART.finditer(layout):
        pieces.append(layout[end : found.start()])
        if found[0] not in _PARTS:
            fractions.append(_fraction(found[0]))
        pieces.append(_PARTS.get(found[0]) or fractions[-1])
        end = found.end()
    pieces.append(layout[end:])

    # All but the fraction is the same for a whole second, in which a busy process logs much.
    last: tuple[int, list[str | Callable[[datetime], str]]] = (0, pieces)

    def write(seconds: float) -> str:
        nonlocal last
        second, written = last
        moment = datetime.fromtimestamp(seconds)
        if second != int(seconds):
            moment = moment.astimezone()
            written = [
                piece if isinstance(piece, str) or piece in fractions else piece(moment)
                for piece in pieces
            ]
            last = int(seconds), written
        return "".join([piece if isinstance(piece, str) else piece(moment) for piece in written])

    return write


def _fraction(layout: str) -> Callable[[datetime], str]:
    """Return what writes a fraction: of `.000` three digits, of `.999` those that are not zero."""

    def write(moment: datetime) -> str:
        digits = f"{moment.microsecond:06}000"[: len(layout) - 1]
        if layout[1] == "9":
            digits = digits.rstrip("0")
        return layout[0] + digits if digits else ""

    return write


def _zone(moment: datetime, colon: str) -> str:
    offset = moment.utcoffset()
    minutes = int(offset.total_seconds()) // 60 if offset is not None else 0
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}{colon}{rest:02}"
