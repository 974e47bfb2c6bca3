"""Totals over processes that die: what was counted once is never taken back."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from skyeim_ws.ops.scrape import Families, Totals


def scraped(began: float, counts: dict[str, float]) -> Families:
    """Return what a process shows that began then."""
    calls = CounterMetricFamily("calls", "calls", labels=["method"])
    times = HistogramMetricFamily("times", "times", labels=["method"])
    for method, count in counts.items():
        calls.add_metric([method], count)
        times.add_metric([method], [("1", count), ("+Inf", count)], count / 2)
    waiting = GaugeMetricFamily("waiting", "waiting", sum(counts.values()))
    start = GaugeMetricFamily("process_start_time_seconds", "start", began)
    return {each.name: each for each in (calls, times, waiting, start)}


def samples(families: Families, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a family by name and labels."""
    found: Metric | None = families.get(name)
    return {
        (each.name, *each.labels.values()): each.value for each in (found.samples if found else ())
    }


def test_a_process_that_was_started_again_counts_on() -> None:
    totals = Totals()
    totals.of("worker-0", scraped(1, {"a": 5, "b": 2}))
    totals.of("worker-0", scraped(2, {"a": 1}))
    shown = totals.of("worker-0", scraped(2, {"a": 2, "c": 1}))
    assert samples(shown, "calls") == {
        ("calls_total", "a"): 7,
        ("calls_total", "b"): 2,
        ("calls_total", "c"): 1,
    }
    assert samples(shown, "times")["times_sum", "a"] == 3.5
    assert samples(shown, "times")["times_bucket", "b", "+Inf"] == 2
    assert samples(shown, "waiting") == {("waiting",): 3}
    assert samples(totals.of("worker-1", scraped(2, {"a": 1})), "calls") == {
        ("calls_total", "a"): 1
    }


def test_of_a_process_that_is_away_the_counters_stay() -> None:
    totals = Totals()
    totals.of("services", scraped(1, {"a": 5}))
    away = totals.of("services", None)
    assert samples(away, "calls") == {("calls_total", "a"): 5}
    assert samples(away, "waiting") == {}
    assert samples(away, "skyeim_ws_process_up") == {("skyeim_ws_process_up",): 0}
    assert Totals().of("services", None).keys() == {"skyeim_ws_process_up"}


@given(
    st.lists(
        st.one_of(
            st.none(), st.just("death"), st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))
        )
    )
)
def test_no_total_ever_goes_back(steps: list[str | dict[str, int] | None]) -> None:
    totals, began, counts = Totals(), 1, dict[str, float]()
    before: dict[tuple[str, ...], float] = {}
    for step in steps:
        if step == "death":
            began, counts = began + 1, {}
            continue
        if isinstance(step, dict):
            for method, more in step.items():
                counts[method] = counts.get(method, 0) + more
        shown = totals.of("w", None if step is None else scraped(began, counts))
        now = samples(shown, "calls") | samples(shown, "times")
        assert all(now[key] >= value for key, value in before.items())
        before = now
