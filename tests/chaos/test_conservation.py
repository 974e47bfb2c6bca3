"""The short form of what `make chaos` does for minutes."""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.gateway import MUTANTS
from tests.chaos.run import Result, run, short
from tests.long import LONG

pytestmark = pytest.mark.xdist_group("chaos")

SEED = 20
EMPTIED_EARLY = 34
"""Redis is emptied soon with it, and may bring again only what came before that."""

long_only = pytest.mark.skipif(not LONG, reason="takes minutes; set LONG_TESTS=1")


def report(result: Result) -> str:
    return f"\n{result.table}"


@pytest.mark.parametrize(
    "redis", [pytest.param(kind, marks=[long_only] * (kind != "single")) for kind in FAULTS]
)
@pytest.mark.gen_test
async def test_nothing_that_was_promised_is_lost_whatever_dies(redis: str) -> None:
    shape = short(redis)
    result = await run(shape, SEED)
    assert result.counts["sent and acked"] >= shape.messages
    assert (result.lost, result.wrong) == (0, []), report(result)


@long_only
@pytest.mark.parametrize("part", MUTANTS)
@pytest.mark.gen_test
async def test_without_one_of_the_safeguards_something_is_lost(part: str) -> None:
    """Else the test above would prove nothing."""
    result = await run(short(), EMPTIED_EARLY, without=part)
    told = {"counting anew": "group:", "watermarks": "duplicate, "}.get(part)
    if told is None:
        assert result.counts["lost: private"] > 0, report(result)
    else:
        assert any(text.startswith(told) for text in result.wrong), report(result)
