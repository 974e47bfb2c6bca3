"""The long form: `python -m tests.chaos`; exit code 1 if anything is lost."""

import argparse
import asyncio
import random
import sys
from dataclasses import replace

from tests.chaos.gateway import MUTANTS
from tests.chaos.run import LONG, SHORT, run


def main() -> int:
    """Run it, say how it goes, and print the closing table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--short", action="store_true", help="the form that all tests include")
    parser.add_argument("--messages", type=int)
    parser.add_argument("--faults", type=int)
    parser.add_argument("--people", type=int)
    parser.add_argument("--without", choices=MUTANTS, default="", help="leave a safeguard out")
    arguments = parser.parse_args()
    shape = SHORT if arguments.short else LONG
    for name in ("messages", "faults", "people"):
        if getattr(arguments, name) is not None:
            shape = replace(shape, **{name: getattr(arguments, name)})

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    say(f"seed {arguments.seed}: {shape.people} people, {shape.messages} messages")
    result = asyncio.run(run(shape, arguments.seed, say, arguments.without))
    say(result.table)
    return 1 if result.lost or result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
