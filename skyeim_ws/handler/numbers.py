"""One strict reading of numbers for everything that comes in a URL or a token."""

import re

MAX_INT64 = 2**63 - 1

_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)


def parse_number(text: str, low: int, high: int = MAX_INT64) -> int | None:
    """Return the number that ASCII digits write, if it lies between the bounds; else None.

    No sign, no blanks, no more than 19 digits: what `int` takes beyond that is more than one way to
    write the same number, and hostile input.
    """
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if low <= number <= high else None
