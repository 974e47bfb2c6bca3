"""etc/alerts.yml: Prometheus takes it; each alert comes in its case and says what to do."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyeim_ws.contract.codes import Reason
from skyeim_ws.ops import catalogue
from tests.events import ROOT, events

RULES = ROOT / "etc" / "alerts.yml"
ALERTS: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
EVENTS = events().keys()
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="needs promtool: tools/install-test-servers"
)

WELL = {
    'up{job="skyeim-ws"}': "1x90",
    'skyeim_ws_process_up{process="gateway"}': "1x90",
    'skyeim_ws_problems{problem="draining",process="gateway"}': "1x90",
    'skyeim_ws_build_info{process="gateway",version="1",commit="a"}': "1x90",
    'skyeim_ws_connections{process="gateway"}': "200x90",
    'skyeim_ws_messages_stored_total{process="gateway"}': "0+6000x90",
    'skyeim_ws_refusals_total{process="gateway",reason="rpc_error"}': "0+60x90",
    'skyeim_ws_refusals_total{process="gateway",reason="invalid"}': "0+6000x90",
    'skyeim_ws_send_to_sent_seconds_bucket{process="gateway",le="1"}': "0+999x90",
    'skyeim_ws_send_to_sent_seconds_bucket{process="gateway",le="2"}': "0+1000x90",
    'skyeim_ws_send_to_sent_seconds_bucket{process="gateway",le="+Inf"}': "0+1000x90",
    'skyeim_ws_send_to_delivered_seconds_bucket{process="gateway",le="1"}': "0+60x90",
    'skyeim_ws_send_to_delivered_seconds_bucket{process="gateway",le="10"}': "0+100x90",
    'skyeim_ws_send_to_delivered_seconds_bucket{process="gateway",le="+Inf"}': "0+100x90",
    'skyeim_ws_loop_lag_seconds_bucket{process="gateway",le="0.1"}': "0+999x90",
    'skyeim_ws_loop_lag_seconds_bucket{process="gateway",le="1"}': "0+1000x90",
    'skyeim_ws_loop_lag_seconds_bucket{process="gateway",le="+Inf"}': "0+1000x90",
    'skyeim_ws_kicked_total{process="gateway"}': "0+60x90",
    'skyeim_ws_slow_consumers_total{process="gateway"}': "0+1x90",
    'skyeim_ws_redis_operations_dropped_total{process="gateway"}': "3x90",
    'skyeim_ws_redis_operations_failed_total{process="gateway"}': "3x90",
    'skyeim_ws_group_dropped_total{process="gateway"}': "3x90",
    'skyeim_ws_accept_pauses_total{process="gateway"}': "3x90",
    'skyeim_ws_log_lines_dropped_total{process="gateway"}': "3x90",
    'skyeim_ws_webhook_notices_dropped_total{process="gateway"}': "3x90",
    'skyeim_ws_webhook_notices_waiting{process="gateway"}': "10x90",
    'skyeim_ws_events_waiting{process="services"}': "10x90",
    'process_open_fds{process="gateway"}': "700x90",
    'process_max_fds{process="gateway"}': "1000x90",
    'http_server_requests_code_total{path="/health",method="GET",code="200"}': "0+60x90",
    'http_server_requests_code_total{path="/health",method="GET",code="503"}': "0+1x90",
    'rpc_server_requests_code_total{method="/m",code="0",process="services"}': "0+60x90",
    'rpc_server_requests_code_total{method="/m",code="14",process="services"}': "0+1x90",
}
"""What is scraped each minute while nothing is wrong; series have an instance besides."""

GATEWAY = {"process": "gateway"}
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "SkyeimNotScraped": ({'up{job="skyeim-ws"}': "0x90"}, {"job": "skyeim-ws"}),
    "SkyeimProcessDown": ({'skyeim_ws_process_up{process="gateway"}': "0x90"}, GATEWAY),
    "SkyeimNotReady": (
        {'skyeim_ws_problems{problem="redis_away",process="gateway"}': "1x90"},
        GATEWAY | {"problem": "redis_away"},
    ),
    "SkyeimSendsFail": (
        {'skyeim_ws_refusals_total{process="gateway",reason="rpc_error"}': "0+600x90"},
        {},
    ),
    "SkyeimSendsSlow": (
        {'skyeim_ws_send_to_sent_seconds_bucket{process="gateway",le="1"}': "0+980x90"},
        {},
    ),
    "SkyeimDeliveriesSlow": (
        {'skyeim_ws_send_to_delivered_seconds_bucket{process="gateway",le="1"}': "0+40x90"},
        {},
    ),
    "SkyeimLoopLags": (
        {'skyeim_ws_loop_lag_seconds_bucket{process="gateway",le="0.1"}': "0+900x90"},
        GATEWAY,
    ),
    "SkyeimConnectionsFell": (
        {'skyeim_ws_connections{process="gateway"}': "200x80 90x10"},
        {},
    ),
    "SkyeimKicksMany": ({'skyeim_ws_kicked_total{process="gateway"}': "0+240x90"}, {}),
    "SkyeimClientsTooSlow": ({'skyeim_ws_slow_consumers_total{process="gateway"}': "0+60x90"}, {}),
    "SkyeimRedisWritesDropped": (
        {'skyeim_ws_redis_operations_dropped_total{process="gateway"}': "3x85 4x5"},
        {},
    ),
    "SkyeimRedisRefuses": (
        {'skyeim_ws_redis_operations_failed_total{process="gateway"}': "3x85 4x5"},
        {},
    ),
    "SkyeimGroupMessagesDropped": (
        {'skyeim_ws_group_dropped_total{process="gateway"}': "3x85 4x5"},
        {},
    ),
    "SkyeimDescriptorsShort": ({'process_open_fds{process="gateway"}': "900x90"}, GATEWAY),
    "SkyeimHttpFails": (
        {'http_server_requests_code_total{path="/health",method="GET",code="503"}': "0+6x90"},
        {"path": "/health"},
    ),
    "SkyeimServicesFail": (
        {'rpc_server_requests_code_total{method="/m",code="14",process="services"}': "0+6x90"},
        {"method": "/m"},
    ),
    "SkyeimEventsWait": ({'skyeim_ws_events_waiting{process="services"}': "200x90"}, {}),
    "SkyeimPhonesNotWoken": (
        {'skyeim_ws_webhook_notices_waiting{process="gateway"}': "2000x90"},
        {},
    ),
    "SkyeimLogHasGaps": (
        {'skyeim_ws_log_lines_dropped_total{process="gateway"}': "3x85 4x5"},
        GATEWAY,
    ),
    "SkyeimTwoVersions": (
        {'skyeim_ws_build_info{process="gateway",version="2",commit="b"}': "1x90"},
        {},
    ),
}
WITHOUT_INSTANCE = {"SkyeimConnectionsFell", "SkyeimTwoVersions"}


def case(series: dict[str, str], firing: str) -> dict[str, Any]:
    """Return the case in which these series are other than usual, as promtool wants it."""
    expected = []
    if firing:
        labels = {"alertname": firing, "alertstate": "firing"} | CASES[firing][1]
        labels |= {"severity": ALERTS[firing]["labels"]["severity"]}
        labels |= {} if firing in WITHOUT_INSTANCE else {"instance": "a"}
        pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
        expected = [{"labels": f"ALERTS{{{pairs}}}", "value": 1}]
    return {
        "name": firing or "all is well",
        "interval": "1m",
        "input_series": [
            {"series": name.replace("{", '{instance="a",'), "values": values}
            for name, values in (WELL | series).items()
        ],
        "promql_expr_test": [
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": "88m", "exp_samples": expected}
        ],
    }


def promtool(*arguments: object) -> None:
    done = subprocess.run(
        [str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


@needs_promtool
def test_each_alert_comes_in_its_case_and_alone(tmp_path: Path) -> None:
    assert CASES.keys() == ALERTS.keys()
    cases = [case({}, ""), *(case(series, name) for name, (series, _) in CASES.items())]
    plan = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}
    (tmp_path / "cases.yml").write_text(json.dumps(plan))
    promtool("test", "rules", tmp_path / "cases.yml")


def metric_names(expression: str) -> set[str]:
    """Return the names of metrics in an expression: what stands before braces or brackets."""
    without_by = re.sub(r"\b(by|without|on|ignoring) ?\([^)]*\)", "", expression)
    return set(re.findall(r"\b([a-z]\w+_\w+)\b(?![\w(]|\s*[=!]~?\")", without_by))


def known(name: str) -> bool:
    """Tell whether a scrape has a sample of this name."""
    bare = re.sub(r"_(bucket|count|sum)$", "", name)
    kinds = {row.name: row.kind for row in (*catalogue.GATEWAY, *catalogue.SERVICES)}
    system = {"process_open_fds", "process_max_fds", "process_resident_memory_bytes"}
    system |= {"process_cpu_seconds_total"}
    return name in kinds or name in system or kinds.get(bare) is catalogue.Kind.HISTOGRAM


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_what_there_is(name: str) -> None:
    found = metric_names(re.sub(r'"[^"]*"', '""', ALERTS[name]["expr"]))
    assert {each for each in found if not known(each)} == set()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "action"}
    words = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b(?!\*)", rule["annotations"]["action"]))
    said = EVENTS | set(Reason) | {"new_remote", "_service_away"}
    assert {word for word in words if word not in said and not known(word)} == set()
