"""What holds for all tests."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.log_secrets", "tests.recorded_traffic")

settings.register_profile(
    "any machine",
    # On a slow one an example takes its time, and so does making one.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any machine")


def pytest_sessionstart() -> None:
    """Begin without an event loop.

    Else asyncio makes one when pytest-tornado asks for it, which nobody closes and the first
    `asyncio.run` of a test throws away: a ResourceWarning in whichever test that is.
    """
    asyncio.set_event_loop(None)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as path:
        yield Path(path)
