"""Our spans as those of OpenTelemetry, and the exporters to which they go in batches."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from skyeim_ws.config.telemetry import TelemetryConf
from skyeim_ws.contract.spans import Kind, Span, Tracer

TIMEOUT = 5.0
"""Seconds for an export, with its retries."""

_DELAY_MILLIS = 1_000
_BATCH = 512

_KINDS = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
}
_PROTOS = {"otlpgrpc": "grpc.trace_exporter", "otlphttp": "http.trace_exporter"}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Exporter:
    """Takes the spans of a tracer, and has a thread export them; raises OSError for its file.

    What the bounded queue cannot take is dropped: the oldest first.
    """

    def __init__(self, conf: TelemetryConf, resource: dict[str, str], tracer: Tracer) -> None:
        self._resource = Resource.create(dict(resource))
        self._scope = InstrumentationScope("skyeim_ws", resource["service.version"])
        self._exporter = _Counted(_exporter(conf), tracer)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=conf.queue_size,
            schedule_delay_millis=_DELAY_MILLIS,
            max_export_batch_size=min(_BATCH, conf.queue_size),
        )
        tracer.export = self._take

    def drain(self) -> None:
        """Export what waits, then end; this blocks."""
        self._processor.shutdown()

    def give_up(self) -> None:
        """End at once: an export under way is not tried again."""
        self._exporter.shutdown()

    def _take(self, span: Span) -> None:
        self._processor.on_end(self._readable(span))

    def _readable(self, span: Span) -> ReadableSpan:
        # Made at its end, from what a lean span of ours has noted: one of the library costs as much
        # as half a message.
        trace_id = int(span.trace_id, 16)
        parent = int(span.parent_id, 16) if span.parent_id else 0
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace_id, int(span.span_id, 16), False, _SAMPLED),
            parent=SpanContext(trace_id, parent, True, _SAMPLED) if parent else None,
            resource=self._resource,
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
            start_time=span.began,
            end_time=span.ended,
            instrumentation_scope=self._scope,
        )


class _Counted(SpanExporter):
    """Counts what becomes of the spans."""

    def __init__(self, exporter: SpanExporter, tracer: Tracer) -> None:
        self._exporter = exporter
        self._tracer = tracer

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export them; the thread of the processor calls this."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self._tracer.exported += len(spans)
            else:
                self._tracer.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()


def _exporter(conf: TelemetryConf) -> SpanExporter:
    if conf.batcher == "file":
        return _FileExporter(Path(conf.endpoint))
    # One may be installed without the other.
    proto = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{_PROTOS[conf.batcher]}")
    more: dict[str, Any] = {"headers": dict(conf.otlp_headers), "timeout": TIMEOUT}
    made: SpanExporter
    given, _, place = conf.endpoint.rpartition("://")
    secure = given == "https" or conf.otlp_http_secure
    place = f"{'https' if secure else 'http'}://{place.rstrip('/')}"
    if conf.batcher == "otlpgrpc":
        made = proto.OTLPSpanExporter(place, insecure=not secure, **more)
    else:
        made = proto.OTLPSpanExporter(f"{place}/{conf.otlp_http_path.lstrip('/')}", **more)
    return made


class _FileExporter(ConsoleSpanExporter):
    """Writes a line of JSON for each span."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        super().__init__(out=self._file, formatter=_line)

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


def _line(span: ReadableSpan) -> str:
    text: Any = span.to_json(indent=None)
    return f"{text}\n"
