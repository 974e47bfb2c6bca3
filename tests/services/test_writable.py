"""A database that takes no writes turns the health of the services, until it takes them again."""

import sqlite3
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from skyeim_ws.services import writable
from tests.services.conftest import data_source_in
from tests.services.serving import serving


@pytest.mark.gen_test
async def test_health_says_that_the_database_takes_no_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writable, "INTERVAL", 0.02)
    monkeypatch.setattr("skyeim_ws.services.db.SQL_DEADLINE", 0.2)
    with capture_logs() as logs:
        async with serving(tmp_path) as services:
            watch = HealthStub(services.channel).Watch(HealthCheckRequest(), timeout=60)
            assert (await watch.read()).status == HealthCheckResponse.SERVING
            with sqlite3.connect(data_source_in(tmp_path), isolation_level=None) as other:
                other.execute("BEGIN IMMEDIATE")
                assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
                other.execute("ROLLBACK")
            other.close()
            assert (await watch.read()).status == HealthCheckResponse.SERVING
            watch.cancel()
            with pytest.raises(grpc.aio.AioRpcError):
                await HealthStub(services.channel).Check(HealthCheckRequest(service="none"))
    told = [entry["event"] for entry in logs if entry["event"].startswith("database_takes")]
    assert told == ["database_takes_no_writes", "database_takes_writes"]
