"""Spans arrive at a real receiver of OTLP; and what is said where they cannot."""

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from structlog.testing import capture_logs
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from skyeim_ws.config.telemetry import EXTRA, TelemetryConf
from skyeim_ws.contract.spans import Kind, Tracer
from skyeim_ws.ops import telemetry
from tests.waiting import until

Received = list[tuple[Any, pb.ExportTraceServiceRequest]]
"""What came with each export (headers or metadata), and the export."""

HEADERS = {"x-team": "chat"}


@asynccontextmanager
async def over_grpc(received: Received) -> AsyncIterator[int]:
    class Receiver(pb_grpc.TraceServiceServicer):  # type: ignore[misc]
        async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            received.append((dict(context.invocation_metadata()), request))
            return pb.ExportTraceServiceResponse()

    server = grpc.aio.server()
    pb_grpc.add_TraceServiceServicer_to_server(Receiver(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@asynccontextmanager
async def over_http(received: Received) -> AsyncIterator[int]:
    class Receiver(RequestHandler):
        def post(self) -> None:
            request = pb.ExportTraceServiceRequest.FromString(self.request.body)
            received.append((self.request.headers, request))
            self.set_header("Content-Type", "application/x-protobuf")
            self.finish(pb.ExportTraceServiceResponse().SerializeToString())

    listener, port = bind_unused_port()
    server = HTTPServer(Application([("/v1/traces", Receiver)]))
    server.add_socket(listener)
    yield port
    server.stop()
    await server.close_all_connections()


def work(tracer: Tracer) -> list[str]:
    """Do something with a part that fails; return the id of the trace and those of the spans."""
    span = tracer.begin("chat", Kind.SERVER, "")
    assert span is not None
    child = span.child("message.Message/SendBatch")
    child.end("UNAVAILABLE")
    span.end(id=7)
    return [span.trace_id, span.span_id, child.span_id]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("batcher", "receiver", "scheme"),
    [
        ("otlpgrpc", over_grpc, ""),
        ("otlpgrpc", over_grpc, "http://"),
        ("otlphttp", over_http, ""),
    ],
)
async def test_spans_arrive(batcher: Any, receiver: Callable[..., Any], scheme: str) -> None:
    received: Received = []
    async with receiver(received) as port:
        conf = TelemetryConf(
            name="ws", endpoint=f"{scheme}127.0.0.1:{port}", batcher=batcher, otlp_headers=HEADERS
        )
        async with telemetry.exporting(conf, "ws-1") as tracer:
            trace_id, span_id, child_id = work(tracer)
            await until(lambda: received)
            # What is left at the end goes too.
            work(tracer)
        assert (tracer.exported, tracer.failed) == (4, 0)
    more, request = received[0]
    assert more["x-team"] == "chat"
    [resource] = request.resource_spans
    about = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert (about["service.name"], about["service.instance.id"]) == ("ws", "ws-1")
    [scope] = resource.scope_spans
    spans = {each.span_id.hex(): each for each in scope.spans}
    assert {each.trace_id.hex() for each in spans.values()} == {trace_id}
    chat, call = spans[span_id], spans[child_id]
    assert (chat.name, chat.kind, chat.parent_span_id) == ("chat", 2, b"")
    assert (call.name, call.kind) == ("message.Message/SendBatch", 3)
    assert call.parent_span_id.hex() == span_id
    assert (call.status.code, call.status.message) == (2, "UNAVAILABLE")
    assert [(a.key, a.value.int_value) for a in chat.attributes] == [("id", 7)]
    assert chat.start_time_unix_nano <= call.start_time_unix_nano <= chat.end_time_unix_nano


@pytest.mark.gen_test
async def test_spans_are_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "spans.json"
    conf = TelemetryConf(name="ws", endpoint=str(file), batcher="file")
    async with telemetry.exporting(conf, "ws-1") as tracer:
        trace_id, *_ = work(tracer)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["context"]["trace_id"] for line in lines} == {f"0x{trace_id}"}
    assert sorted(line["name"] for line in lines) == ["chat", "message.Message/SendBatch"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"batcher": "jaeger", "endpoint": "h:1"}, '"jaeger" is not supported: use otlpgrpc'),
        ({"endpoint": "nowhere"}, "must be host:port"),
        ({"batcher": "file", "endpoint": "/nowhere/spans"}, "No such file or directory"),
    ],
)
async def test_what_cannot_be_exported_is_said(conf: Any, said: str) -> None:
    with capture_logs() as entries:
        async with telemetry.exporting(TelemetryConf(**conf), "ws-1") as tracer:
            work(tracer)  # goes on all the same
            assert tracer.export is None
    [entry] = entries
    assert (entry["event"], entry["log_level"]) == ("telemetry_not_exported", "error")
    assert said in entry["error"]


@pytest.mark.gen_test
async def test_without_the_extra_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with capture_logs() as entries:
        async with telemetry.exporting(TelemetryConf(endpoint="h:1"), "ws-1") as tracer:
            work(tracer)
    assert EXTRA in entries[0]["error"]


@pytest.mark.gen_test
async def test_nothing_is_exported_that_is_not_asked_for() -> None:
    for conf in (None, TelemetryConf(), TelemetryConf(endpoint="h:1", disabled=True)):
        with capture_logs() as entries:
            async with telemetry.exporting(conf, "ws-1") as tracer:
                assert tracer.export is None
        assert entries == []
        assert tracer.sampler == (1.0 if conf and not conf.disabled else 0.0)


@pytest.mark.gen_test
async def test_a_receiver_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "STOP_SECONDS", 0.2)
    listener, port = bind_unused_port()  # takes connections, and answers nothing
    conf = TelemetryConf(endpoint=f"127.0.0.1:{port}", queue_size=3)
    with capture_logs() as entries:
        async with asyncio.timeout(60), telemetry.exporting(conf, "ws-1") as tracer:
            for _ in range(5):
                work(tracer)
    assert entries[-1]["event"] == "telemetry_unflushed"
    await until(lambda: tracer.failed)
    assert tracer.exported == 0
    listener.close()
