"""Who is silent for too long: by one's own clock, whatever other clocks say."""

from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.store.leases import Leases

PAUSE, DEAD_AFTER = 5.0, 15.0


def leases() -> Leases:
    return Leases(pause=PAUSE, dead_after=DEAD_AFTER)


def test_a_sign_that_does_not_change_for_long_enough_is_a_death() -> None:
    watch = leases()
    found = [watch.look(now, {b"a": b"7", b"b": str(now).encode()}) for now in (0.0, 5.0, 10.0)]
    assert found == [[], [], []]
    assert watch.look(15.0, {b"a": b"7", b"b": b"new"}) == [b"a"]


@given(st.lists(st.integers(-(10**15), 10**15), min_size=2, unique=True))
def test_whoever_gives_signs_lives_whichever_way_the_clock_goes(signs: list[int]) -> None:
    watch = leases()
    for turn, sign in enumerate(signs):
        assert watch.look(turn * PAUSE, {b"a": str(sign).encode()}) == []


@given(st.floats(0, 1e6))
def test_the_time_in_which_one_stood_still_oneself_is_no_silence(stood: float) -> None:
    watch = leases()
    watch.look(0.0, {b"a": b"7"})
    assert watch.look(5.0, {b"a": b"7"}) == []
    assert watch.look(5.0 + stood, {b"a": b"7"}) == []


def test_after_an_outage_the_silence_begins_anew() -> None:
    watch = leases()
    for now in (0.0, 5.0, 10.0):
        watch.look(now, {b"a": b"7"})
    watch.forget()
    assert watch.look(15.0, {b"a": b"7"}) == []
    assert watch.look(25.0, {b"a": b"7"}) == []


def test_a_node_that_is_listed_no_more_is_forgotten() -> None:
    watch = leases()
    for now in (0.0, 5.0):
        watch.look(now, {b"a": b"7"})
    watch.look(10.0, {})
    assert watch.look(15.0, {b"a": b"7"}) == []
