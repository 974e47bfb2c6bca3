"""The pictures: how far each case is from its goal, and how the cost grows with the group; the
estimate of a large deployment.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.model import SAFE, Costs, World, parts, total
from bench.results import Row

_MET, _MISSED, _FLOOR = "tab:green", "tab:red", "tab:gray"


def write(file: Path, rows: Sequence[Row]) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    goals, curve = figure.subplots(1, 2)
    _draw_goals(goals, [row for row in rows if row.goal is not None])
    _draw_growth(curve, [row for row in rows if row.size])
    figure.savefig(file, dpi=120)


def write_scale(file: Path, world: World, unit: Costs) -> None:
    """Write what each part of a deployment does, and how the need grows with the users, as PNG."""
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    shares, growth = figure.subplots(1, 2)
    shares.set_title(f"a gateway process with {world.users // world.nodes:,} users")
    found = parts(world, unit)
    bars = shares.barh(
        [part.name for part in found],
        [100 * part.cores.gateway / world.nodes for part in found],
        color=_MET,
    )
    shares.bar_label(bars, fmt=" %.1f")
    shares.set_xlabel("% of a core")
    shares.margins(x=0.15)
    shares.invert_yaxis()
    growth.set_title(f"cores, with {world.users // world.nodes:,} users on each gateway process")
    users = [world.users * part // 100 for part in range(5, 201, 5)]
    needed = [
        total(parts(replace(world, users=n, nodes=max(1, n * world.nodes // world.users)), unit))
        for n in users
    ]
    millions = [n / 1e6 for n in users]
    for name, line in zip(
        ("gateways", "Redis", "services"), zip(*needed, strict=True), strict=True
    ):
        growth.plot(millions, line, label=name)
    growth.axhline(SAFE, color="black", linewidth=1, linestyle=":")
    growth.annotate("one Redis", (millions[-1], SAFE), ha="right", va="bottom")
    growth.set_xlabel("million users online")
    growth.set_yscale("log")
    growth.legend()
    figure.savefig(file, dpi=100)


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
