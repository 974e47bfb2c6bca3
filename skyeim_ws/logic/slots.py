"""When the clients of a node that is emptied leave, and when they come back: one by one; pure."""

from dataclasses import dataclass

FIRST_RETURN = 0.5
"""Seconds until the first one comes back."""

SHORTEST_SPREAD = 4.5
"""Seconds over which even a few come back: the only node needs some time to start again."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of so many clients, who are numbered from 0; all times in seconds.

    They leave evenly within `pace` and return evenly within `spread`, which is not shorter. If the
    two are the same, each comes back in the moment after its leaving.
    """

    clients: int
    pace: float
    spread: float

    def leaves_at(self, number: int) -> float:
        """Return when a client leaves, counted from the beginning."""
        return self.pace * number / self.clients

    def away(self, number: int, within: float) -> float:
        """Return how long a client stays away; `within` is its place in the slot, from 0 to 1."""
        back = FIRST_RETURN + self.spread * (number + within) / self.clients
        return back - self.leaves_at(number)


def slots(clients: int, *, logins_per_second: float, longest: float | None = None) -> Slots:
    """Return slots in which nodes that take so many logins are not overrun.

    All have left after `longest`, if that is given, and then stay away for what is missing.
    """
    needed = clients / logins_per_second
    return Slots(
        clients,
        pace=needed if longest is None else min(needed, longest),
        spread=max(needed, SHORTEST_SPREAD),
    )
