"""What a service and the log are told of the trace in which a call is made."""

from typing import Any

import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.contract.spans import Kind, Span, Tracer, within
from skyeim_ws.contract.timing import Timings
from skyeim_ws.logic.outgoing import Outgoing
from skyeim_ws.ops.log_lines import add_trace
from skyeim_ws.rpc.errors import RpcFailed
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service
from tests.rpc.servers import batching, pooling, serving
from tests.waiting import until


class Server:
    """Notes in which traces it is called, and by what."""

    def __init__(self) -> None:
        self.parents: list[str | None] = []
        self.agents: list[str] = []

    async def count(self, request: Any, context: Any) -> pb.GetUnreadCountResp:
        metadata = dict(context.invocation_metadata())
        self.parents.append(metadata.get("traceparent"))
        self.agents.append(metadata["user-agent"])
        if request.user_id == 7:
            await context.abort(StatusCode.INTERNAL, "broken")
        return pb.GetUnreadCountResp(count=1)


def sampled(taken: list[Span]) -> Span:
    span = Tracer(1.0, taken.append).begin("read", Kind.SERVER, "")
    assert span is not None
    return span


async def count(pool: Pool, user_id: int = 1) -> None:
    service = Service(pool, MessageStub)
    await service.call(lambda stub: stub.GetUnreadCount, pb.GetUnreadCountReq(user_id=user_id))


@pytest.mark.gen_test
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_service_is_told_of_the_trace(host: str) -> None:
    """Over a connection of our own, and through grpcio, which looks names up."""
    server, taken = Server(), list[Span]()
    async with serving("127.0.0.1:0", message={"GetUnreadCount": server.count}) as address:
        port = address.rpartition(":")[2]
        async with pooling(f"{host}:{port}") as pool:
            await until(lambda: pool.ready)
            await count(pool)
            span = sampled(taken)
            with within(span):
                await count(pool)
    assert ("grpc-python" in server.agents[-1]) == (host == "localhost")
    [call] = taken
    assert server.parents == [None, f"00-{span.trace_id}-{call.span_id}-01"]
    assert (call.name, call.parent_id) == ("test.Test/GetUnreadCount", span.span_id)
    assert (call.error, call.attributes["status"]) == ("", "OK")


@pytest.mark.gen_test
async def test_the_lines_of_a_slow_or_failed_call_name_the_trace() -> None:
    server, taken = Server(), list[Span]()
    async with (
        serving("127.0.0.1:0", message={"GetUnreadCount": server.count}) as address,
        pooling(address) as pool,
    ):
        pool.timings = Timings(1e-9)
        span = sampled(taken)
        with (
            capture_logs(processors=[add_trace]) as entries,
            within(span),
            pytest.raises(RpcFailed),
        ):
            await count(pool, 7)
    named = {entry["event"]: (entry["trace"], entry["span"]) for entry in entries}
    assert named == dict.fromkeys(("rpc_failed", "slow_rpc"), (span.trace_id, span.span_id))
    assert {call.error for call in taken} == {"INTERNAL"}


@pytest.mark.gen_test
async def test_a_batch_is_stored_in_the_trace_of_its_first_message() -> None:
    parents: list[str | None] = []
    taken: list[Span] = []

    async def store(request: pb.SendBatchReq, context: Any) -> pb.SendBatchResp:
        parents.append(dict(context.invocation_metadata()).get("traceparent"))
        sent = [item.private for item in request.items]
        return pb.SendBatchResp(
            results=[
                pb.SendResult(id=number, msg_id=each.msg_id, created_at=1)
                for number, each in enumerate(sent, 1)
            ]
        )

    async with (
        serving("127.0.0.1:0", message={"SendBatch": store}) as address,
        batching(address) as batcher,
    ):
        done: list[str] = []
        spans = [None, sampled(taken), sampled(taken)]
        for number, span in enumerate(spans):
            message = Outgoing(f"m-{number}", 1, "hello", 1, to_user_id=2, span=span)
            batcher.submit(message, lambda message, _: done.append(message.msg_id))
        await until(lambda: len(done) == len(spans))
    call, first, second = taken
    assert parents == [f"00-{first.trace_id}-{call.span_id}-01"]
    assert call.parent_id == first.span_id
    assert (first.attributes, second.attributes) == (
        {"id": 2},
        {"id": 3, "batch.trace_id": first.trace_id},
    )
