"""The choice between servers by load."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.rpc.balance import LEAST_LATENCY, Load, choose


def measured(seconds: float, in_flight: int = 0, at: float = 0.0) -> Load:
    load = Load()
    load.begin()
    load.end(seconds, at)
    for _ in range(in_flight):
        load.begin()
    return load


def test_the_one_that_answers_sooner_costs_less() -> None:
    assert measured(0.001).cost(0) < measured(0.1).cost(0)


def test_calls_under_way_cost() -> None:
    assert measured(0.01, in_flight=3).cost(0) == pytest.approx(0.04)


def test_a_new_one_is_tried_with_a_few_calls() -> None:
    new, known = Load(), measured(0.001)
    sent = 0
    while new.cost(0) < known.cost(0):
        new.begin()
        sent += 1
    assert 1 <= sent <= 0.001 / LEAST_LATENCY


def test_a_slow_one_is_tried_again_after_a_while() -> None:
    slow, quick = measured(2.0), measured(0.001)
    assert slow.cost(10) > quick.cost(0)
    assert slow.cost(100) < quick.cost(0)


def test_newer_measures_weigh_more_the_longer_ago_the_others_are() -> None:
    soon, late = measured(1.0), measured(1.0)
    for load, at in ((soon, 1.0), (late, 30.0)):
        load.begin()
        load.end(0.1, at)
    assert soon.cost(1.0) > 0.5
    assert late.cost(30.0) < 0.2


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000)), max_size=30),
    st.floats(0, 2000),
)
def test_the_cost_is_within_what_was_measured(
    calls: list[tuple[float, float]], later: float
) -> None:
    load, now = Load(), 0.0
    for seconds, pause in calls:
        now += pause
        load.begin()
        load.end(seconds, now)
    assert load.in_flight == 0
    most = max((seconds for seconds, _ in calls), default=0.0)
    assert LEAST_LATENCY <= load.cost(now + later) <= max(most, LEAST_LATENCY) * 1.0001


@given(st.lists(st.floats(0, 10), min_size=1, max_size=9), st.integers())
def test_the_dearest_of_several_is_never_chosen(costs: list[float], seed: int) -> None:
    chosen = choose(range(len(costs)), costs.__getitem__, random.Random(seed).sample)
    assert 0 <= chosen < len(costs)
    if len(costs) > 1 and costs.count(max(costs)) == 1:
        assert costs[chosen] < max(costs)


def test_the_others_share_what_a_slow_one_does_not_get() -> None:
    """Ten calls at a time over four servers, of which one takes ten times as long."""
    draw = random.Random(1)
    loads = {name: measured(0.01 if name != "slow" else 0.1) for name in ("a", "b", "c", "slow")}
    under_way: list[tuple[float, str]] = []
    served: Counter[str] = Counter()
    now = 0.0

    def cost(name: str) -> float:
        return loads[name].cost(now)

    while sum(served.values()) < 2000:
        while len(under_way) < 10:
            name = choose(list(loads), cost, draw.sample)
            loads[name].begin()
            under_way.append((now + (0.1 if name == "slow" else 0.01), name))
        under_way.sort()
        now, name = under_way.pop(0)
        loads[name].end(0.1 if name == "slow" else 0.01, now)
        served[name] += 1
    assert served["slow"] < 100
    assert min(served["a"], served["b"], served["c"]) > 500
