"""The picture: how far each case is from its goal, and how the cost grows with the group."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results import Row

_MET, _MISSED, _FLOOR = "tab:green", "tab:red", "tab:gray"


def write(file: Path, rows: Sequence[Row]) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    goals, curve = figure.subplots(1, 2)
    _draw_goals(goals, [row for row in rows if row.goal is not None])
    _draw_growth(curve, [row for row in rows if row.size])
    figure.savefig(file, dpi=120)


def _draw_goals(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_title("measured, as a part of the goal (shorter is better)")
    axes.axvline(1.0, color="black", linewidth=1)
    parts = [row.judged / row.goal for row in rows if row.goal]
    bars = axes.barh(
        [row.case for row in rows], parts, color=[_MET if row.met else _MISSED for row in rows]
    )
    axes.bar_label(bars, [f" {row.judged:.2f} / {row.goal:g}" for row in rows])
    axes.margins(x=0.2)
    axes.invert_yaxis()


def _draw_growth(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_title("CPU time per delivery, by members online")
    axes.set_xlabel("members online")
    axes.set_ylabel("microseconds")
    sizes = [row.size for row in rows]
    if not rows:
        axes.text(0.5, 0.5, "not measured", ha="center")
        return
    axes.plot(sizes, [median(row.values) for row in rows], "o-", color=_MET, label="gateway")
    floors = [row.floor or 0.0 for row in rows]
    axes.plot(sizes, floors, "o--", color=_FLOOR, label="bare sends")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend()
