"""A real Redis for the tests of this room."""

from collections.abc import Iterator

import pytest

from tests.store.servers import Server, running_server


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started
