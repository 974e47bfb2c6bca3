"""Measures the gateway against floors: `python -m bench [--quick] [--case NAME]`.

The goals are ratios of CPU time to floors that are measured in the same minutes, so they mean much
the same on any machine. A goal that is missed is no failure: the exit code tells only whether
everything could be measured.
"""

import argparse
import importlib.util
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from bench import report
from bench.big import big_group, big_user
from bench.chat import latency, private, rates
from bench.cluster import across, spread
from bench.connections import connect, idle
from bench.fanout import fanout, fanout_burst, fanout_large, growth, workers
from bench.huge import huge, huge_tls
from bench.machine import describe, raise_descriptors
from bench.plan import Plan, say
from bench.results import Row
from bench.storm import storm

CASES: dict[str, Callable[[Plan], list[Row]]] = {
    "fanout": fanout,
    "fanout_burst": fanout_burst,
    "fanout_large": fanout_large,
    "private": private,
    "rates": rates,
    "idle": idle,
    "connect": connect,
    "growth": growth,
    "workers": workers,
    "latency": latency,
    "storm": storm,
    "big": big_group,
    "big_user": big_user,
    "cluster": spread,
    "across": across,
    "huge": huge,
    "huge_tls": huge_tls,
}

RUNS, QUICK_RUNS = 5, 3


def main() -> int:
    """Measure, print, and write the files; return the exit code."""
    arguments = _parser().parse_args()
    # What a migration says while a database is filled.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    raise_descriptors()
    runs = arguments.runs or (QUICK_RUNS if arguments.quick else RUNS)
    plan = Plan(runs, arguments.quick, arguments.connections)
    machine, began = describe(), time.time()
    rows: list[Row] = []
    failed = []
    for name in arguments.case or CASES:
        try:
            rows += CASES[name](plan)
        except Exception:  # the others can be measured all the same
            failed.append(name)
            say(f"{name}: FAILED\n{traceback.format_exc()}")
    print(report.table(rows))
    if plan.quick:
        print("Quick: a look only. The goals are for the sizes and runs of the full measurement.")
    about = {
        "machine": machine,
        "load_average_at_end": describe()["load_average"],
        "began": began,
        "seconds": time.time() - began,
        "quick": plan.quick,
        "runs": plan.runs,
        "failed": failed,
    }
    _write(arguments.out, rows, about)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", action="append", choices=CASES, help="repeatable; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for a look")
    parser.add_argument(
        "--runs", type=_positive, help=f"of each case; default {RUNS}, quick {QUICK_RUNS}"
    )
    parser.add_argument(
        "--connections", type=_positive, help="of the case huge; default 100,000, quick 4,000"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="folder; default %(default)s"
    )
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _write(folder: Path, rows: Sequence[Row], about: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder / "results.json", rows, about)
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: it needs matplotlib, from pip install -e '.[bench]'")
    elif rows:
        # Only here: whoever has no use for the plot needs no matplotlib.
        from bench import plot  # noqa: PLC0415

        plot.write(folder / "results.png", rows)
    print(f"written to {folder}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; everything that was started has been stopped")
        sys.exit(128 + signal.SIGINT)
