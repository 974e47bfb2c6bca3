"""Profiles on demand: of this process and of its neighbours, one at a time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.testing import bind_unused_port

from skyeim_ws.ops.neighbours import Neighbours
from skyeim_ws.ops.operators_http import Profiles, application
from skyeim_ws.ops.profile import BusyError, Profiler
from skyeim_ws.ops.scrape import Scrape


def hold_up() -> None:
    """Hold up the loop for a moment."""
    end = time.monotonic() + 0.001
    while time.monotonic() < end:
        pass


async def work() -> None:
    """Work in short turns, as a gateway does."""
    while True:
        hold_up()
        await asyncio.sleep(0)


def samples(text: str) -> dict[str, int]:
    """Return how often each stack was seen."""
    lines = [line.rpartition(" ") for line in text.splitlines()]
    return {stack: int(count) for stack, _, count in lines}


@pytest.mark.gen_test
async def test_a_profile_says_where_the_loop_is() -> None:
    profiler = Profiler()
    working = asyncio.create_task(work())
    with capture_logs() as entries:
        taking = asyncio.create_task(profiler.take(0.5))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await profiler.take(0.5)
        stacks = await taking
        # Afterwards another one may be taken.
        await profiler.take(0.01)
    working.cancel()
    counts = samples(stacks)
    held = sum(count for stack, count in counts.items() if stack.endswith(" hold_up"))
    assert held > sum(counts.values()) / 2
    [outer, *_] = next(stack for stack in counts if stack.endswith(" hold_up")).split(";")
    assert "hold_up" not in outer
    assert [entry["event"] for entry in entries] == ["profile_taken"] * 2
    assert entries[0]["samples"] == sum(counts.values()) > 0


@asynccontextmanager
async def operators(folder: Path, *, enabled: bool = True) -> AsyncIterator[str]:
    """Serve operators in the name of a parent whose worker is this process too; give the URL."""
    path = str(folder / "worker")
    alone, asked = Neighbours({}), Neighbours({"worker-0": path, "worker-1": path + "-away"})
    registry = CollectorRegistry()
    worker = application(
        "/metrics",
        Scrape("gateway", registry, alone),
        profiles=Profiles("gateway", Profiler(), alone),
    )
    parent = application(
        "/metrics",
        Scrape("parent", registry, asked),
        profiles=Profiles("parent", Profiler(), asked) if enabled else None,
    )
    listener, port = bind_unused_port()
    servers = [HTTPServer(worker), HTTPServer(parent)]
    servers[0].add_socket(bind_unix_socket(path))
    servers[1].add_socket(listener)
    yield f"http://127.0.0.1:{port}/debug/pprof/profile"
    for server in servers:
        server.stop()
        await server.close_all_connections()
    alone.close()
    asked.close()


async def get(url: str) -> HTTPResponse:
    client: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True)
    try:
        return await client.fetch(url, raise_error=False)
    finally:
        client.close()


@pytest.mark.gen_test
async def test_each_process_is_asked_by_its_name(tmp_path: Path) -> None:
    async with operators(tmp_path) as url:
        working = asyncio.create_task(work())
        for query in ("seconds=1", "seconds=1&process=worker-0"):
            answer = await get(f"{url}?{query}")
            assert answer.code == 200
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert any(stack.endswith(" hold_up") for stack in samples(answer.body.decode()))
        working.cancel()


@pytest.mark.gen_test
async def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    async with operators(tmp_path) as url:
        for query, code, said in (
            ("seconds=0", 400, "from 1 to 300"),
            ("seconds=301", 400, "from 1 to 300"),
            ("seconds=1.5", 400, "from 1 to 300"),
            ("process=worker-7", 404, "one of parent, worker-0, worker-1"),
            ("process=worker-1", 502, "worker-1 does not answer"),
        ):
            answer = await get(f"{url}?{query}")
            assert (answer.code, said in answer.body.decode()) == (code, True), query
        first, second = await asyncio.gather(
            *(get(f"{url}?seconds=1&process=worker-0") for _ in range(2))
        )
        assert sorted((first.code, second.code)) == [200, 409]
        refused = first if first.code == 409 else second
        assert "try again" in refused.body.decode()
    async with operators(tmp_path, enabled=False) as url:
        assert (await get(url)).code == 404
