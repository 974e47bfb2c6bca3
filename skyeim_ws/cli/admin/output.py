"""What the admin commands print: aligned tables for people, JSON for machines."""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import Message

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found or did: `data` for machines, `text` for people, without the last \\n."""

    data: Mapping[str, object]
    text: str


def write(answer: Answer, *, as_json: bool) -> None:
    """Print an answer; if its reader has left, the command has not failed."""
    text = json.dumps(answer.data, separators=(",", ":")) if as_json else answer.text
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more on its way out, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_error(text: str) -> None:
    """Print why a command failed, as one line."""
    sys.stderr.write(f"error: {printable(text)}\n")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> str:
    """Return rows under their headings, aligned; `empty` if there are none."""
    cells = [[printable(str(value)) for value in row] for row in (headings, *rows)]
    if len(cells) == 1:
        return empty
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        _GAP.join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip(" ")
        for row in cells
    )


def printable(text: str) -> str:
    """Return a text that cannot break a line or command the terminal: such characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def counted(count: int, what: str) -> str:
    """Return a number of things in words, such as `1 gateway` or `2 gateways`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def cell(name: str, value: object) -> object:
    """Return a value of JSON as people read it; what ends in `At` is a time."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if name.endswith("At") and isinstance(value, int):
        return local_time(value)
    return "-" if value in ("", None) else value


def local_time(seconds: int) -> str:
    """Return Unix seconds as local ISO time; `-` for 0."""
    if not seconds:
        return "-"
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # no year between 1 and 9999
        return str(seconds)


def fields(message: Message) -> dict[str, object]:
    """Return the fields of a flat message under the names and in the types of the HTTP API."""
    # MessageToDict makes strings of 64-bit integers.
    return {
        field.json_name: list(value) if field.is_repeated else value
        for field in message.DESCRIPTOR.fields
        for value in [getattr(message, field.name)]
    }


def _width(text: str) -> int:
    """Return the columns that a text takes in a terminal."""
    return sum(_columns(each) for each in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
