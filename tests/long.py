"""Whether the long forms of tests are wanted: `LONG_TESTS=1 pytest ...`; CI runs the short ones."""

import os

LONG = bool(os.environ.get("LONG_TESTS"))


def examples(short: int) -> int:
    """Return how many examples a property is tried with, `short` of them in the short form."""
    return short * 50 if LONG else short
