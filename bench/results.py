"""What a measurement has yielded, and whether its goal is met."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: what was measured, what its floor was, and what else used the CPU meanwhile.

    `others` is in the unit of the measurement where that is CPU time.
    """

    value: float
    floor: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Return how many floors it is."""
        return self.value / self.floor if self.floor else None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a case, or one of its sizes.

    The goal is for the ratio where there is a floor, else for the value; None: only shown. `size`
    is how many connections are served, for the plot of the growth.
    """

    case: str
    unit: str
    samples: Sequence[Sample]
    floor_name: str = ""
    goal: float | None = None
    note: str = ""
    size: int = 0

    @property
    def values(self) -> list[float]:
        """Return what was measured in each run."""
        return [sample.value for sample in self.samples]

    @property
    def floor(self) -> float | None:
        """Return the median of the floors."""
        floors = [sample.floor for sample in self.samples if sample.floor is not None]
        return median(floors) if floors else None

    @property
    def ratio(self) -> float | None:
        """Return the median of the ratios: of each run to the floor measured beside it."""
        ratios = [sample.ratio for sample in self.samples if sample.ratio is not None]
        return median(ratios) if ratios else None

    @property
    def judged(self) -> float:
        """Return what the goal is for."""
        return median(self.values) if self.ratio is None else self.ratio

    @property
    def met(self) -> bool | None:
        """Tell whether the goal is met; None if there is none."""
        return None if self.goal is None else self.judged <= self.goal
