"""Where the spans of traces are exported, in the keys of go-zero, and what makes sense there."""

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from skyeim_ws.config.kinds import Count, Share

EXTRA = "pip install 'skyeim_ws[otel]'"
"""What brings the exporters."""

FOREIGN = ("jaeger", "zipkin")
"""Batchers of go-zero that are accepted, and to which nothing is exported."""

_PLACE = re.compile(r"(https?://)?(\[[^\]]+\]|[^:/\s]+):\d+/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConf:
    """A part of all work, from 0 to 1, is traced besides that of callers who send a trace.

    Spans are exported to the `endpoint`, if there is one: `host:port`, with `https://` by TLS, or a
    path with the batcher `file`. At most `queue_size` wait for it.
    """

    name: str = ""
    endpoint: str = ""
    sampler: Share = 1.0
    batcher: Literal["otlpgrpc", "otlphttp", "file", "jaeger", "zipkin"] = "otlpgrpc"
    otlp_headers: dict[str, str] = field(default_factory=dict, repr=False)
    otlp_http_path: str = "/v1/traces"
    otlp_http_secure: bool = False
    queue_size: Count = 2048
    disabled: bool = False

    @property
    def exports(self) -> bool:
        """Whether spans are to be exported."""
        return bool(self.endpoint) and not self.disabled and self.batcher not in FOREIGN


def problems(conf: TelemetryConf | None) -> Iterator[tuple[str, str]]:
    """Return why nothing would be exported, each with the key; the gateway runs all the same."""
    if conf is None or conf.disabled or not conf.endpoint:
        return
    if conf.batcher in FOREIGN:
        yield (
            "Telemetry.Batcher",
            f'"{conf.batcher}" is not supported: use otlpgrpc, otlphttp or file',
        )
    elif not is_installed(conf.batcher):
        yield "Telemetry", f"nothing is exported without the exporters: {EXTRA}"
    elif conf.batcher != "file" and not _PLACE.fullmatch(conf.endpoint):
        yield "Telemetry.Endpoint", "must be host:port, with http:// or https:// or nothing before"


def is_installed(batcher: str) -> bool:
    """Tell whether the exporter is there."""
    kind = {"otlpgrpc": "exporter.otlp.proto.grpc", "otlphttp": "exporter.otlp.proto.http"}
    try:
        return importlib.util.find_spec(f"opentelemetry.{kind.get(batcher, 'sdk')}") is not None
    except ModuleNotFoundError:
        return False
