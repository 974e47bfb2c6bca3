"""What is told at the end: a table for people, a file for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from bench.results import Row

OTHERS = ("valkey", "services", "load")
"""Whose CPU time stands beside the gateway's, in the same unit."""

_HEAD = (
    *("case", "unit", "median", "min..max", "floor", "floor is", "ratio", "goal", "met"),
    *(f"+{name}" for name in OTHERS),
)
_LEFT = ("case", "unit", "floor is")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, with their notes below."""
    lines = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(width) if name in _LEFT else cell.rjust(width)
            for name, cell, width in zip(_HEAD, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.case)
    text += [f"{', '.join(cases)}: {note}" for note, cases in notes.items()]
    return "\n".join(text)


def write(file: Path, rows: Sequence[Row], about: Mapping[str, object]) -> None:
    """Write all samples, what they come to, and what is known about the run."""
    found = [
        asdict(row)
        | {
            "median": median(row.values),
            "floor": row.floor,
            "ratio": row.ratio,
            "met": row.met,
        }
        for row in rows
    ]
    file.write_text(json.dumps({**about, "rows": found}, indent=2) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.case,
        row.unit,
        _number(median(row.values)),
        f"{_number(min(row.values))}..{_number(max(row.values))}",
        "" if row.floor is None else _number(row.floor),
        row.floor_name,
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.goal is None else f"<= {row.goal:g}",
        {None: "", True: "yes", False: "no"}[row.met],
        *(_other(row, name) for name in OTHERS),
    )


def _other(row: Row, name: str) -> str:
    used = [sample.others[name] for sample in row.samples if name in sample.others]
    return _number(median(used)) if used else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
