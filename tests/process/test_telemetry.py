"""One trace over two processes, from the frame of a client to the database, at a real receiver."""

import json
from pathlib import Path

import pytest

from tests.ops.test_telemetry import Received, over_grpc
from tests.process.conftest import running, skyeim, user
from tests.waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.gen_test
async def test_a_trace_goes_through_gateway_and_services(folder: Path) -> None:
    received: Received = []
    async with over_grpc(received) as port:
        file = folder / "ws.yaml"
        block = f"Telemetry: {{Endpoint: '127.0.0.1:{port}', Sampler: 0}}\n"
        file.write_text(file.read_text() + block)
        async with (
            running(folder, *skyeim("demo")) as program,
            user(await program.port(), 1001) as alice,
        ):
            await alice.expect("connected")
            data = {"toUserId": 1002, "content": "hello", "msgId": "m-1"}
            traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
            frame = {"type": "chat", "data": data, "traceparent": traceparent}
            await alice.connection.send(json.dumps(frame))
            await alice.expect("ack", msgId="m-1", status="sent")

            def spans() -> dict[str, tuple[str, str, str]]:
                """Return the process, the own and the parent id of each span, by name."""
                return {
                    f"{span.name} {span.kind}": (
                        next(
                            each.value.string_value
                            for each in resource.resource.attributes
                            if each.key == "service.instance.id"
                        ),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                    )
                    for _, request in received
                    for resource in request.resource_spans
                    for scope in resource.scope_spans
                    for span in scope.spans
                    if span.trace_id.hex() == TRACE
                }

            await until(lambda: len(spans()) == 3)
    chat = spans()["chat 2"]
    call = spans()["message.Message/SendBatch 3"]
    served = spans()["message.Message/SendBatch 2"]
    assert (chat[0], call[0], served[0]) == ("process-test", "process-test", "services")
    assert (chat[2], call[2], served[2]) == ("00f067aa0ba902b7", chat[1], call[1])
