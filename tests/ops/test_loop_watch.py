"""What holds the loop up is named by its place in the code."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from skyeim_ws.ops.loop_watch import watching
from tests.waiting import until


def a_long_calculation() -> None:
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        sum(range(1_000))


@pytest.mark.gen_test
async def test_a_turn_that_takes_too_long_is_logged_with_its_place() -> None:
    with capture_logs() as logs, watching(0.2) as timings:
        await asyncio.sleep(0)
        a_long_calculation()
        await until(lambda: logs)
    assert logs[0]["event"] == "slow_turn"
    assert "a_long_calculation" in logs[0]["place"]
    assert sum(timings.histogram("slow_turn").buckets) > 0


@pytest.mark.gen_test
async def test_without_a_limit_the_loop_is_timed_all_the_same() -> None:
    with capture_logs() as logs, watching(0) as timings:
        await until(lambda: sum(timings.histogram("slow_turn").buckets) > 1)
    assert logs == []
