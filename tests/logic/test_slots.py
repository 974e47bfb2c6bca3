"""The slots in which clients leave and come back, over all sizes of a crowd."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.logic.slots import FIRST_RETURN, SHORTEST_SPREAD, slots
from tests.spread import BOUND, unevenness

crowds = st.integers(1, 2000)
rates = st.floats(1, 10_000)
limits = st.none() | st.floats(0, 100)


@given(crowds, rates, limits, st.floats(0, 1))
def test_nobody_is_away_for_less_than_a_moment(
    clients: int, rate: float, longest: float | None, within: float
) -> None:
    planned = slots(clients, logins_per_second=rate, longest=longest)
    for number in (0, clients // 2, clients - 1):
        assert planned.away(number, within) >= FIRST_RETURN - 1e-6
        assert planned.leaves_at(number) <= planned.pace
    if longest is not None:
        assert planned.pace <= longest


@given(crowds, rates, limits)
def test_no_second_brings_more_than_the_fleet_takes(
    clients: int, rate: float, longest: float | None
) -> None:
    planned = slots(clients, logins_per_second=rate, longest=longest)
    back = [planned.leaves_at(n) + planned.away(n, 0.5) for n in range(clients)]
    assert back == sorted(back)
    assert planned.spread >= clients / rate
    assert planned.spread >= SHORTEST_SPREAD
    assert back[-1] - back[0] == pytest.approx(planned.spread * (clients - 1) / clients)


def test_returns_fill_all_slots_evenly_and_a_herd_would_not_pass() -> None:
    planned = slots(400, logins_per_second=50, longest=2.0)
    back = [planned.leaves_at(n) + planned.away(n, 0.5) - FIRST_RETURN for n in range(400)]
    assert unevenness(back, 0, 8.0) < 1
    assert unevenness([planned.leaves_at(n) for n in range(400)], 0, 8.0) > BOUND
