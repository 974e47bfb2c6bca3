"""What the standard health check of real servers says, and what is made of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.rpc import health
from skyeim_ws.rpc.pool import Pool
from tests.rpc.servers import serving
from tests.waiting import until


@asynccontextmanager
async def watched(address: str) -> AsyncIterator[Pool]:
    """Run the check over a pool of one server, once it is connected."""
    pool = Pool("message", [address], timeout=5)
    await until(lambda: pool.ready)
    task = asyncio.create_task(health.watch(pool))
    try:
        yield pool
    finally:
        await cancel_and_wait(task)
        await pool.close()


@pytest.mark.gen_test
async def test_a_server_that_says_it_does_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "INTERVAL", 0.02)
    address, server, servicer = f"unix:{tmp_path}/s", grpc.aio.server(), health_aio.HealthServicer()
    add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        async with watched(address) as pool:
            await servicer.set("", HealthCheckResponse.NOT_SERVING)
            await until(lambda: not pool.serving)
            await servicer.set("", HealthCheckResponse.SERVING)
            await until(lambda: pool.serving)
    finally:
        await server.stop(None)


@pytest.mark.gen_test
async def test_a_server_without_the_check_is_taken_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "INTERVAL", 0.02)
    async with serving(f"unix:{tmp_path}/s") as address, watched(address) as pool:
        pool.serving = False
        await until(lambda: pool.serving)
