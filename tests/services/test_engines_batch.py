"""Batches keep order, seq and idempotence on MariaDB as well: the same tests, unchanged."""
# ruff: noqa: F401, F403

import pytest

from tests.services.mariadb import tmp_path
from tests.services.test_batch import *

pytestmark = pytest.mark.xdist_group("mariadb")

# It spoils a batch inside SQLite; `test_go_schema` does with a real table of narrow columns.
test_an_item_that_spoils_the_batch_fails_alone = None  # type: ignore[assignment]
# Pure: no database takes part.
test_the_verdicts_on_a_batch_are_those_on_its_items_one_after_the_other = None  # type: ignore[assignment]
