"""The catalogue of metrics in docs/metrics.md has the rows of the code, and nothing else."""

import re
from pathlib import Path

import pytest

from skyeim_ws.contract.timing import Timings
from skyeim_ws.ops import catalogue
from skyeim_ws.ops.catalogue import Kind, Metric
from skyeim_ws.ops.metrics import CatalogueCollector
from tests.events import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROWS = {row.name: row for row in (*catalogue.GATEWAY, *catalogue.SERVICES)}


def documented() -> dict[str, list[str]]:
    """Return the cells of each row: type, labels, meaning, what to watch for."""
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE, re.M)
    assert len({name for name, _ in lines}) == len(lines), "a metric has two rows"
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}


def line(row: Metric) -> str:
    """Return the row that a metric needs; its last cell is for a person to write."""
    labels = ", ".join(f"`{each}`" for each in row.labels)
    return f"| `{row.name}` | {row.kind} | {labels} | {row.help} | ... |"


def test_the_page_has_each_metric_and_no_other() -> None:
    lacking = [line(row) for name, row in ROWS.items() if name not in documented()]
    assert not lacking, "add to docs/metrics.md:\n" + "\n".join(lacking)
    gone = documented().keys() - ROWS.keys()
    assert not gone, f"take out of docs/metrics.md: {gone}"


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_of_the_page_says_what_the_scrape_says(name: str) -> None:
    row = ROWS[name]
    kind, labels, meaning, _ = documented()[name]
    assert (kind, tuple(re.findall(r"`(\w+)`", labels))) == (row.kind, row.labels), line(row)
    assert meaning.replace("`", "") == row.help, line(row)


def test_names_are_as_prometheus_wants_them() -> None:
    for row in ROWS.values():
        assert (row.kind is Kind.COUNTER) == row.name.endswith("_total"), row.name
        assert row.help[0] + row.help[-1] != ".", row.name


def test_what_was_timed_is_a_histogram_and_a_counter() -> None:
    """As go-zero has it: by method, and by method and code; an empty label is left out."""
    timings = Timings()
    for seconds, code in ((0.0004, "0"), (0.002, "0"), (7.0, "14")):
        timings.note("slow_rpc", seconds, "/message.Message/SendBatch", code)
    timings.note("slow_redis", 0.001, "Pipeline", "")
    timings.note("slow_redis", 0.1, "Pipeline", "eof")
    rows = [row for row in catalogue.GATEWAY if row.event in ("slow_rpc", "slow_redis")]
    families = {each.name: each for each in CatalogueCollector(rows, timings, dict).collect()}
    method = {"method": "/message.Message/SendBatch"}
    took = families["rpc_client_requests_duration_ms"].samples
    assert [(each.labels["le"], each.value) for each in took[:3]] == [("1", 1), ("2", 2), ("5", 2)]
    assert [(each.labels["le"], each.value) for each in took[11:13]] == [("5000", 2), ("+Inf", 3)]
    assert [(each.name[-4:], each.value) for each in took[13:]] == [("ount", 3), ("_sum", 7002.4)]
    assert [(each.labels, each.value) for each in families["rpc_client_requests_code"].samples] == [
        (method | {"code": "0"}, 2),
        (method | {"code": "14"}, 1),
    ]
    errors = families["redis_client_requests_error"].samples
    assert [(each.labels, each.value) for each in errors] == [
        ({"command": "Pipeline", "error": "eof"}, 1)
    ]


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_metrics_that_there_are(page: Path) -> None:
    prefix = r"skyeim_ws|rpc_client|rpc_server|http_server|redis_client"
    found = set(re.findall(rf"\b(?:{prefix})_\w+\b(?!\*)", page.read_text()))
    if page.name == "CHANGELOG.md":  # it names those of before
        found -= {"skyeim_ws_redis_operations_dropped", "skyeim_ws_rpc_calls_refused"}
    assert found - ROWS.keys() == set()


TICKETS = (ROOT / "docs" / "night.md").read_text().split("\n## ")[1:]


@pytest.mark.parametrize("ticket", TICKETS, ids=lambda ticket: ticket.partition("\n")[0])
def test_each_ticket_of_the_night_names_a_metric(ticket: str) -> None:
    assert set(re.findall(r"\w+", ticket)) & ROWS.keys()
