"""Whether the servers of a pool say that they serve: the standard health check of gRPC."""

import asyncio

import grpc
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from skyeim_ws.rpc.pool import Endpoint, Pool

INTERVAL = 5.0
"""Seconds from one check to the next."""

PATIENCE = 2.0
"""Seconds that a server may take to answer."""


async def watch(pool: Pool) -> None:
    """Keep `pool.serving` true to what the connected servers say, for ever."""
    while True:
        connected = [endpoint for endpoint in pool.in_use if endpoint.is_ready()]
        # With none connected nobody can be asked; `pool.ready` tells of that.
        answers = await asyncio.gather(*map(_serves, connected))
        pool.serving = any(answers) or not answers
        await asyncio.sleep(INTERVAL)


async def _serves(endpoint: Endpoint) -> bool:
    try:
        answer = await endpoint.stub(HealthStub).Check(HealthCheckRequest(), timeout=PATIENCE)
    except grpc.aio.AioRpcError as error:
        # A server without this service is taken at its calls.
        return error.code() is StatusCode.UNIMPLEMENTED
    except grpc.aio.UsageError:  # the channel was closed just now
        return True
    return bool(answer.status == HealthCheckResponse.SERVING)
