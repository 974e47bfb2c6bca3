"""Times are counted in buckets, and what took too long is logged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from skyeim_ws.contract.timing import BOUNDS, Histogram, Timings, duration, quantile

SECONDS = st.floats(0, 10)


def test_a_time_is_written_as_go_zero_does() -> None:
    assert [duration(seconds) for seconds in (0, 0.01234, 2)] == ["0.0ms", "12.3ms", "2000.0ms"]


def test_what_takes_too_long_is_logged_with_its_fields() -> None:
    timings = Timings(0.5)
    with capture_logs() as logs:
        timings.note("slow_rpc", 0.49, "message.Send", method="Send")
        timings.note("slow_rpc", 0.5, "message.Send", method="Send")
        Timings().note("slow_rpc", 100.0, method="Send")
    assert logs == [
        {"event": "slow_rpc", "duration": "500.0ms", "method": "Send", "log_level": "warning"}
    ]
    [histogram] = timings.histograms.values()
    assert (sum(histogram.buckets), histogram.total) == (2, 0.99)


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(found: list[float], share: float) -> None:
    histogram = Histogram()
    for seconds in found:
        histogram.add(seconds)
    rank = next(n for n in range(1, len(found) + 1) if n >= share * len(found))
    true = sorted(found)[rank - 1]
    bounds = (0.0, *BOUNDS)
    low = max(bound for bound in bounds if bound < true or bound == 0.0)
    high = min(bound for bound in bounds if bound >= true and bound > 0.0)
    assert low <= quantile(histogram, share) <= high + 1e-9


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_of_nothing_a_quantile_is_nothing(share: float) -> None:
    assert quantile(Histogram(), share) == 0.0
