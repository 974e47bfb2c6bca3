"""The token bucket: bursts pass, the rate holds, a flood is told from haste."""

from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.conn.rate import TokenBucket, Verdict


@given(gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_never_more_than_burst_and_rate_allow(gaps: list[float]) -> None:
    bucket = TokenBucket(10, 5, now=0)
    now = 0.0
    allowed = 0
    for gap in gaps:
        now += gap
        allowed += bucket.take(now) is Verdict.ALLOWED
    assert allowed <= 5 + 10 * now + 1


def test_a_burst_passes_then_haste_is_limited_then_it_is_a_flood() -> None:
    bucket = TokenBucket(1, 3, now=0)
    verdicts = [bucket.take(0) for _ in range(7)]
    assert verdicts == [Verdict.ALLOWED] * 3 + [Verdict.LIMITED] * 3 + [Verdict.FLOODING]


def test_patience_is_rewarded() -> None:
    bucket = TokenBucket(1, 3, now=0)
    for _ in range(5):
        bucket.take(0)
    assert bucket.take(3.5) is Verdict.ALLOWED


def test_a_rate_of_zero_allows_everything() -> None:
    bucket = TokenBucket(0, 1, now=0)
    assert {bucket.take(0) for _ in range(1000)} == {Verdict.ALLOWED}
