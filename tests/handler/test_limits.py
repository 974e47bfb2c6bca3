"""How often is too often, in seconds of a clock that the tests turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.handler import limits
from skyeim_ws.handler.limits import CallLimit, CallsUnderWay, Handshakes, LoginLimit


def test_calls_have_a_burst_and_a_rate() -> None:
    calls = CallLimit(rate=10, burst=3)
    assert [calls.wait(1, 0.0) for _ in range(3)] == [0, 0, 0]
    assert calls.wait(1, 0.0) == pytest.approx(0.1)
    # Whoever is refused pays nothing for it.
    assert calls.wait(1, 0.0) == pytest.approx(0.1)
    assert calls.wait(2, 0.0) == 0
    assert [calls.wait(1, 0.1), calls.wait(1, 0.2)] == [0, 0]
    assert calls.wait(1, 0.25) == pytest.approx(0.05)
    assert [calls.wait(1, 100.0) for _ in range(4)][:3] == [0, 0, 0]


def test_a_rate_of_0_allows_all_calls() -> None:
    calls = CallLimit(rate=0, burst=1)
    assert {calls.wait(1, 0.0) for _ in range(1_000)} == {0}


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 100),
    st.lists(st.floats(0, 10), min_size=1, max_size=100),
)
def test_no_user_calls_more_often_than_burst_and_rate(
    rate: float, burst: int, pauses: list[float]
) -> None:
    calls, now, allowed = CallLimit(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        wait = calls.wait(1, now)
        allowed += not wait
        # Coming back when one was told to is always welcome.
        if wait:
            now += wait + 1e-6
            assert calls.wait(1, now) == 0
            allowed += 1
        assert allowed <= burst + now * rate + 1


def test_logins_beyond_the_burst_have_a_growing_pause() -> None:
    logins, now = LoginLimit(burst=5, interval=600), 0.0
    assert [logins.wait(1, now) for _ in range(6)] == [0] * 6
    waited = []
    for _ in range(8):
        waited.append(wait := logins.wait(1, now))
        assert logins.wait(1, now) == wait  # too early again: no longer for it
        now += wait
        assert logins.wait(1, now) == 0
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60]
    assert logins.wait(2, now) == 0


def test_after_a_while_logins_are_as_before() -> None:
    logins = LoginLimit(burst=5, interval=10)
    assert [logins.wait(1, 0.0) for _ in range(7)] == [0] * 6 + [1]
    assert [logins.wait(1, 100.0) for _ in range(5)] == [0] * 5


def test_one_login_in_each_interval_meets_no_limit() -> None:
    logins = LoginLimit(burst=3, interval=5)
    assert {logins.wait(1, 5.0 * number) for number in range(10_000)} == {0}


@pytest.mark.parametrize(("burst", "interval"), [(0, 5), (5, 0)])
def test_logins_may_be_without_a_limit(burst: int, interval: float) -> None:
    logins = LoginLimit(burst, interval)
    assert {logins.wait(1, 0.0) for _ in range(1_000)} == {0}


def test_users_beyond_the_bound_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_USERS", 2)
    calls = CallLimit(rate=1, burst=1)
    assert [calls.wait(user, 0.0) for user in (1, 2, 3)] == [0, 0, 0]
    assert calls.wait(3, 0.0) > 0
    assert calls.wait(1, 0.0) == 0  # forgotten


def test_calls_that_are_under_way_are_bounded_for_each_user() -> None:
    calls = CallsUnderWay(2)
    assert [calls.enter(user) for user in (1, 1, 1, 2)] == [True, True, False, True]
    assert len(calls) == 3
    calls.leave(1)
    assert [calls.enter(1), calls.enter(1)] == [True, False]
    for user in (1, 1, 2):
        calls.leave(user)
    assert len(calls) == 0


def test_a_bound_of_0_lets_every_call_in() -> None:
    calls = CallsUnderWay(0)
    assert {calls.enter(1) for _ in range(1_000)} == {True}
    assert len(calls) == 1_000


def test_of_too_many_handshakes_the_oldest_has_to_go() -> None:
    waiting: Handshakes[str] = Handshakes(limit=3, per_address=2)
    assert [waiting.enter(name, name) for name in ("a", "b", "c")] == [None] * 3
    assert waiting.enter("d", "d") == "a"
    waiting.leave("b")
    assert waiting.enter("e", "e") is None
    assert waiting.enter("f", "f") == "c"
    assert len(waiting) == 3


def test_of_too_many_from_one_address_its_own_oldest_has_to_go() -> None:
    waiting: Handshakes[int] = Handshakes(limit=10, per_address=2)
    assert waiting.enter(0, "good") is None
    assert [waiting.enter(number, "bad") for number in (1, 2, 3, 4)] == [None, None, 1, 2]
    assert [waiting.enter(number, "") for number in (5, 6, 7)] == [None] * 3
    waiting.leave(3)
    assert waiting.enter(8, "bad") is None
    assert len(waiting) == 6


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc ")), max_size=200))
def test_no_bound_is_passed_and_nothing_is_kept(steps: list[tuple[int, str]]) -> None:
    waiting: Handshakes[int] = Handshakes(limit=6, per_address=3)
    here: dict[int, str] = {}
    for connection, address in steps:
        if connection in here:
            waiting.leave(connection)
            del here[connection]
            continue
        here[connection] = address.strip()
        gone = waiting.enter(connection, address.strip())
        if gone is not None:
            del here[gone]
        assert len(waiting) == len(here) <= 6
        assert all(list(here.values()).count(name) <= 3 for name in "abc")
    for connection in here:
        waiting.leave(connection)
    assert len(waiting) == 0
    assert [waiting.enter(number, "a") for number in (1, 2, 3)] == [None] * 3
