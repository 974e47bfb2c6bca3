"""Which trace a piece of work goes on with, and what is exported of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.contract.spans import SPAN, Kind, Span, Tracer, end_span, within

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def digits(count: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**count - 1).map(lambda number: f"{number:0{count}x}")


@given(digits(32), digits(16), st.integers(0, 255))
def test_a_trace_of_a_caller_goes_on(trace_id: str, span_id: str, flags: int) -> None:
    span = Tracer().begin("x", Kind.SERVER, f"00-{trace_id}-{span_id}-{flags:02x}")
    assert span is not None
    assert (span.trace_id, span.parent_id, span.sampled) == (trace_id, span_id, bool(flags & 1))
    child = span.child("y")
    assert (child.trace_id, child.parent_id) == (trace_id, span.span_id)
    assert child.traceparent == f"00-{trace_id}-{child.span_id}-{flags & 1:02x}"
    again = Tracer().begin("z", Kind.SERVER, child.traceparent)
    assert again is not None
    assert again.parent_id == child.span_id


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "hello",
        f"00-{TRACE}-{CALLER}",
        f"00-{TRACE}-{CALLER}-01-more",
        f"ff-{TRACE}-{CALLER}-01",
        f"00-{TRACE.upper()}-{CALLER}-01",
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{CALLER}-1",
        f"00-{TRACE}-{CALLER}-01\n",
    ],
)
def test_what_is_no_trace_counts_as_none(wrong: str) -> None:
    assert Tracer().begin("x", Kind.SERVER, wrong) is None
    begun = Tracer(1.0).begin("x", Kind.SERVER, wrong)
    assert begun is not None
    assert (begun.trace_id == TRACE, begun.parent_id, begun.sampled) == (False, "", True)


def test_a_later_version_of_the_standard_is_understood() -> None:
    span = Tracer().begin("x", Kind.SERVER, f"01-{TRACE}-{CALLER}-01-what-comes-then")
    assert span is not None
    assert (span.trace_id, span.parent_id) == (TRACE, CALLER)


@given(st.text(max_size=80))
def test_fuzz_any_text_is_taken(text: str) -> None:
    Tracer().begin("x", Kind.SERVER, text)


def test_a_part_of_the_work_is_traced() -> None:
    begun = [Tracer(0.25).begin("x", Kind.SERVER, "") for _ in range(2_000)]
    assert 0.15 < sum(span is not None for span in begun) / len(begun) < 0.35


def test_a_sampled_span_is_exported_once_and_others_never() -> None:
    taken: list[Span] = []
    tracer = Tracer(0.0, taken.append)
    for flags in ("01", "00"):
        span = tracer.begin("x", Kind.SERVER, f"00-{TRACE}-{CALLER}-{flags}")
        with within(span):
            assert SPAN.get() is span
            end_span("busy", tries=2)
            end_span()
    assert SPAN.get() is None
    end_span()  # of nothing
    [span] = taken
    assert (span.error, span.attributes) == ("busy", {"tries": 2})
    assert span.ended >= span.began > 0
