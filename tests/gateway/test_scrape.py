"""What a scrape of a gateway shows of what its clients and services do."""

import re
import subprocess
from dataclasses import replace

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from skyeim_ws.config.tree import DevServerConf
from skyeim_ws.contract.timing import DELIVERED
from skyeim_ws.ops import catalogue
from tests.gateway.conftest import MakeWorld
from tests.ports import free_port
from tests.test_alerts import PROMTOOL, needs_promtool
from tests.waiting import until_async
from tests.world import World

PORT = free_port()
SETTINGS = {"dev_server": DevServerConf(enabled=True, port=PORT)}


async def scrape(world: World, port: int = PORT) -> dict[str, Metric]:
    """Return the families by name."""
    response = await world.http.fetch(f"http://127.0.0.1:{port}/metrics")
    return {each.name: each for each in text_string_to_metric_families(response.body.decode())}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Return the one sample of this name with these labels; 0 if there is none."""
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) <= 1, (name, labels)
    return found[0] if found else 0.0


@pytest.mark.gen_test
async def test_a_scrape_has_the_metrics_of_the_catalogue(make_world: MakeWorld) -> None:
    async with make_world(settings=SETTINGS) as world:
        families = await scrape(world)
        ours = {
            name: each for name, each in families.items() if not name.startswith(("proc", "py"))
        }
        assert {name: (each.type, each.documentation) for name, each in ours.items()} == {
            row.name.removesuffix("_total"): (row.kind, row.help) for row in catalogue.GATEWAY
        }


@needs_promtool
@pytest.mark.gen_test
async def test_prometheus_finds_no_fault_with_a_scrape(make_world: MakeWorld) -> None:
    """But with go-zero's names, which have milliseconds."""
    async with make_world(settings=SETTINGS) as world:
        await world.get("/health")
        response = await world.http.fetch(f"http://127.0.0.1:{PORT}/metrics")
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs any more
        [str(PROMTOOL), "check", "metrics"], input=response.body, capture_output=True, check=False
    )
    faults = (done.stdout + done.stderr).decode().splitlines()
    assert {line for line in faults if not re.match(r"(http|rpc|redis)_\w+_ms ", line)} == set()
    assert faults


@pytest.mark.gen_test
async def test_what_senders_waited_for_is_measured(make_world: MakeWorld) -> None:
    async with make_world(settings=SETTINGS) as world:
        alice, _ = await world.login(1001), await world.login(1002)
        await alice.chat(1002, "hello")
        await alice.expect("ack", status="delivered")
        await alice.send("group_chat", groupId="g_demo", content="hello")
        await alice.expect("ack", status="sent")
        families = await scrape(world)
        assert value(families, "skyeim_ws_send_to_sent_seconds_count") == 2
        assert value(families, "skyeim_ws_send_to_delivered_seconds_count") == 1
        assert value(families, "skyeim_ws_messages_stored_total") == 2
        assert value(families, "skyeim_ws_batch_messages_sum") == 2
        assert value(families, "skyeim_ws_login_seconds_count") == 2


@pytest.mark.gen_test
async def test_the_way_to_another_node_is_timed_by_the_one_of_the_sender(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        there = await world.add_node()
        alice, _ = await world.login(1001), await world.login(1002, node=there)
        await alice.chat(1002, "hello")
        await alice.expect("ack", status="delivered")
        delivered = (node.stats.timings.histogram(DELIVERED) for node in (world.gateway, there))
        assert [sum(each.buckets) for each in delivered] == [1, 0]


@pytest.mark.gen_test
async def test_closes_and_refusals_are_counted_by_cause(make_world: MakeWorld) -> None:
    async with make_world(settings=SETTINGS) as world:
        first = await world.login(1001)
        alice = await world.login(1001)
        assert await first.close_code() == 4001

        async def closes() -> bool:
            return value(await scrape(world), "skyeim_ws_closes_total", code="4001") == 1

        await until_async(closes)
        await alice.send("chat", toUserId=0, content="x")
        await alice.expect("error", code=30001)
        await alice.send("chat", toUserId=1004, content="x")
        await alice.expect("error", code=30004)
        await alice.send("no_such_type")
        await alice.expect("error", code=30013)
        reasons = {"invalid": 1, "not_friend": 1, "unknown_type": 1}
        family = (await scrape(world))["skyeim_ws_refusals"]
        assert {each.labels["reason"]: each.value for each in family.samples} == reasons


@pytest.mark.gen_test
async def test_http_and_rpc_have_the_names_of_go_zero(make_world: MakeWorld) -> None:
    """Callers cannot make new series: unknown paths and methods are one each."""
    async with make_world(settings=SETTINGS) as world:
        assert (await world.get("/message/history?peerId=1002", 1001)).code == 200
        for path in ("/a", "/b", "/message/history"):
            await world.get(path)
        await world.fetch("/health", method="FOO", allow_nonstandard_methods=True)
        families = await scrape(world)

        def requests(path: str, method: str, code: int) -> float:
            labels = {"path": path, "method": method, "code": str(code)}
            counted = value(families, "http_server_requests_code_total", **labels)
            assert value(families, "http_server_requests_duration_ms_count", **labels) == counted
            return counted

        assert requests("/message/history", "GET", 200) == 1
        assert requests("/message/history", "GET", 401) == 1
        assert requests("(none)", "GET", 404) == 2
        assert requests("/health", "(other)", 405) == 1
        method = "/message.Message/GetMessageList"
        code = value(families, "rpc_client_requests_code_total", method=method, code="0")
        assert code == 1
        assert value(families, "rpc_client_requests_duration_ms_count", method=method) == 1
        assert value(families, "redis_client_requests_duration_ms_count", command="Pipeline") > 0
        await world.stop_services()
        assert (await world.get("/message/history?peerId=1002", 1001)).code == 503
        families = await scrape(world)
        assert value(families, "rpc_client_requests_code_total", method=method, code="14") == 1


@pytest.mark.gen_test
@pytest.mark.parametrize(("enabled", "code"), [(False, 404), (True, 200)])
async def test_a_profile_is_taken_where_it_is_enabled(
    make_world: MakeWorld, enabled: bool, code: int
) -> None:
    dev = replace(SETTINGS["dev_server"], enable_pprof=enabled)
    async with make_world(settings={"dev_server": dev}) as world:
        url = f"http://127.0.0.1:{PORT}/debug/pprof/profile?seconds=1"
        answer = await world.http.fetch(url, raise_error=False)
        assert answer.code == code
