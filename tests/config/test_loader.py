"""Durations in the manner of Go; test_config.py shows the rest of the loader at work."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.config.loader import parse_duration


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("500ms", 0.5),
            ("5s", 5.0),
            ("5.5s", 5.5),
            (".5s", 0.5),
            ("1m30s", 90.0),
            ("720h", 720 * 3600.0),
            ("7d", 7 * 86400.0),
            ("1us", 1e-6),
            ("1µs", 1e-6),
            ("0", 0.0),
            ("0s", 0.0),
        ],
    )
    def test_go_durations_are_read(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        "text", ["", "5", "s", "-5s", "+5s", "5 s", "5s ", "1x", "5S", "\u0665s"]
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text)

    @given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
    def test_parts_add_up(self, hours: int, minutes: int, seconds: int, millis: int) -> None:
        text = f"{hours}h{minutes}m{seconds}s{millis}ms"
        assert parse_duration(text) == pytest.approx(
            hours * 3600 + minutes * 60 + seconds + millis / 1000
        )

    @given(st.text(alphabet="0123456789.hmsnuµd -", max_size=12))
    def test_no_text_raises_anything_but_value_error(self, text: str) -> None:
        with contextlib.suppress(ValueError):
            assert parse_duration(text) >= 0
