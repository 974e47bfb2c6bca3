"""Whether a crowd comes in slots: the chi-square statistic of how it falls into them."""

from collections.abc import Iterable

SLOTS = 8

BOUND = 24.3
"""Chi-square of 7 degrees of freedom at 0.1 %: of random crowds one in a thousand is so uneven."""


def unevenness(times: Iterable[float], begin: float, end: float) -> float:
    """Return the chi-square of times against an even spread over slots between two others."""
    counts = [0] * SLOTS
    for time in times:
        place = int(SLOTS * (time - begin) / (end - begin))
        counts[min(max(place, 0), SLOTS - 1)] += 1
    even = sum(counts) / SLOTS
    return sum((count - even) ** 2 for count in counts) / even
