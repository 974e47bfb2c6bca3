"""When a method that fails is spared, with a clock and dice of our own."""

import random

from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.rpc.breaker import GRACE, WINDOW, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker_of(draw: float) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(clock, lambda: draw), clock


def note(breaker: Breaker, *, accepted: int = 0, failed: int = 0) -> None:
    for _ in range(accepted):
        breaker.note(accepted=True)
    for _ in range(failed):
        breaker.note(accepted=False)


def test_a_few_failures_mean_nothing() -> None:
    breaker, _ = breaker_of(0.0)
    note(breaker, failed=GRACE)
    assert breaker.allows()
    assert not breaker.is_open


def test_up_to_a_third_of_the_calls_may_fail() -> None:
    breaker, _ = breaker_of(0.0)
    note(breaker, accepted=200, failed=100 + GRACE)
    assert breaker.allows()
    note(breaker, failed=1)
    assert not breaker.allows()
    assert breaker.is_open


def test_while_all_fail_some_go_through() -> None:
    refused, _ = breaker_of(0.93)
    passed, _ = breaker_of(0.95)
    for breaker in (refused, passed):
        note(breaker, failed=100)
    # (100 - 5) / 101
    assert (refused.allows(), passed.allows()) == (False, True)
    assert (refused.refused, passed.refused) == (1, 0)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker, clock = breaker_of(0.0)
    note(breaker, failed=50)
    assert not breaker.allows()
    clock.now += WINDOW - 0.1
    assert not breaker.allows()
    clock.now += 0.1
    assert breaker.allows()


def test_it_is_over_when_nothing_was_refused_for_a_window() -> None:
    breaker, clock = breaker_of(0.0)
    note(breaker, failed=50)
    assert not breaker.allows()
    note(breaker, accepted=500)
    clock.now += WINDOW - 0.1
    assert breaker.allows()
    assert breaker.is_open
    clock.now += 0.1
    assert not breaker.is_open


def test_a_healed_service_is_asked_by_all_within_a_window_whatever_the_load() -> None:
    dice, clock = random.Random(7), Clock()
    breaker = Breaker(clock, dice.random)
    sent = 0
    for _ in range(30_000):  # a minute of 500 calls a second, all of which fail
        clock.now += 0.002
        if breaker.allows():
            breaker.note(accepted=False)
            sent += 1
    assert sent < 2_000
    healed = clock.now
    while clock.now < healed + WINDOW:
        clock.now += 0.002
        if breaker.allows():
            breaker.note(accepted=True)
    before = breaker.refused
    for _ in range(1_000):
        clock.now += 0.002
        assert breaker.allows()
        breaker.note(accepted=True)
    assert breaker.refused == before


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60))
def test_the_calls_of_the_window_are_counted_up_to_its_grain(
    calls: list[tuple[float, bool]],
) -> None:
    breaker, clock = breaker_of(0.0)
    made: list[tuple[float, bool]] = []
    for pause, accepted in calls:
        clock.now += pause
        breaker.note(accepted=accepted)
        made.append((clock.now, accepted))
    breaker.allows()
    youngest, all_of_them = (
        [accepted for at, accepted in made if clock.now - at < window]
        for window in (WINDOW * 0.95, WINDOW)
    )
    assert len(youngest) <= breaker.calls <= len(all_of_them)
    assert sum(youngest) <= breaker.accepted <= sum(all_of_them)
