"""The long form: `python -m tests.chaos`; exit code 1 if anything is lost."""

import argparse
import asyncio
import logging
import os
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import structlog

from tests.chaos.faults import FAULTS
from tests.chaos.gateway import MUTANTS, TRACED
from tests.chaos.run import LONG, Result, run, short


def main() -> int:
    """Run it, say how it goes, and print the closing table; of several runs a line each."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--runs", type=int, default=1, help="so many, each with the next seed")
    parser.add_argument("--short", action="store_true", help="the form that all tests include")
    parser.add_argument("--redis", choices=FAULTS, default="single", help="its kind")
    parser.add_argument("--messages", type=int)
    parser.add_argument("--faults", type=int)
    parser.add_argument("--people", type=int)
    parser.add_argument("--without", choices=MUTANTS, default="", help="leave a safeguard out")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the traces and logs of a run with something wrong"
    )
    arguments = parser.parse_args()
    # Each look at a Redis Cluster would have its line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if arguments.keep:
        os.environ[TRACED] = "1"
    shape = short(arguments.redis) if arguments.short else replace(LONG, redis=arguments.redis)
    for name in ("messages", "faults", "people"):
        if getattr(arguments, name) is not None:
            shape = replace(shape, **{name: getattr(arguments, name)})

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    say(f"{shape.people} people, {shape.messages} messages")
    failed, lines = 0, []
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        say(f"seed {seed}")
        began = time.monotonic()
        result = asyncio.run(run(shape, seed, say, arguments.without, arguments.keep))
        say(result.table)
        failed += bool(result.lost or result.wrong)
        lines.append(_line(seed, result, time.monotonic() - began))
    if arguments.runs > 1:
        say("\n".join(lines))
    return int(failed > 0)


def _line(seed: int, result: Result, seconds: float) -> str:
    presence = result.counts["presence wrong"]
    return (
        f"seed {seed}: {result.counts['sent and acked']} sent, lost {result.lost}, "
        f"presence wrong {presence}, else wrong {len(result.wrong) - presence}, "
        f"duplicated {result.counts['duplicated']}, {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
