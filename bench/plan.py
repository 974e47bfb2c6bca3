"""How much is measured, and what a case tells while it runs."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Sample

CONTENT = "A chat message of ordinary length, such as people type on their phones all day".ljust(
    100, "."
)
"""A hundred characters."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Quick: smaller numbers, for a look; the goals are for the full ones."""

    runs: int
    quick: bool = False
    connections: int | None = None
    """Of the case `huge`, in place of its own number."""

    def size(self, full: int, quick: int) -> int:
        """Return the number for this plan."""
        return quick if self.quick else full

    def rounds(self, case: str) -> Iterator[int]:
        """Count the runs of a case, from 1."""
        say(f"{case}: starting")
        yield from range(1, self.runs + 1)

    def tell(self, case: str, number: int, sample: Sample, unit: str) -> Sample:
        """Say what a run has yielded, and return it."""
        text = f"{case}: run {number} of {self.runs}: {sample.value:.4g} {unit}"
        if sample.ratio is not None:
            text += f", floor {sample.floor:.4g}, ratio {sample.ratio:.2f}"
        say(text)
        return sample


def say(text: str) -> None:
    """Tell the person who waits; the table alone goes to the standard output."""
    print(text, file=sys.stderr, flush=True)
