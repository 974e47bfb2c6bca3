"""etc/grafana-dashboard.json: panels ask for metrics that there are, in PromQL that is right."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

from tests.events import ROOT
from tests.test_alerts import known, metric_names, needs_promtool, promtool

DASHBOARD = json.loads((ROOT / "etc" / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]


def test_each_panel_asks_for_metrics_that_there_are() -> None:
    for query in QUERIES:
        names = metric_names(re.sub(r'"[^"]*"', '""', query))
        assert names, query
        assert {name for name in names if not known(name)} == set(), query
    [instances] = [each for each in DASHBOARD["templating"]["list"] if each["name"] == "instance"]
    assert known(instances["query"].partition("(")[2].partition(",")[0])


def test_panels_have_a_place_and_a_number_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = any(
            first[start] + first[size] <= second[start]
            for first, second in ((one, other), (other, one))
            for start, size in (("x", "w"), ("y", "h"))
        )
        assert apart, (one, other)


@needs_promtool
def test_prometheus_takes_the_queries(tmp_path: Path) -> None:
    """As the expressions of rules, with a time and an instance for Grafana's variables."""
    plain = [
        query.replace("$__rate_interval", "1m").replace("$instance", ".+") for query in QUERIES
    ]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(plain)]
    plan = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "rules.yml").write_text(json.dumps(plan))
    promtool("check", "rules", tmp_path / "rules.yml")
