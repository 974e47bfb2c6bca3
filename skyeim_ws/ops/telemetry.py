"""Exports the spans of traces where `Telemetry` says, by OpenTelemetry, an optional extra."""

import asyncio
import importlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import structlog

from skyeim_ws import __version__
from skyeim_ws.config.telemetry import TelemetryConf, problems
from skyeim_ws.contract.spans import Tracer

STOP_SECONDS = 2.0
"""How long the last spans may take at the end."""

log = structlog.get_logger()


def encode(conf: TelemetryConf | None) -> str:
    """Return the settings as a text, for a process that is told them."""
    return msgspec.json.encode(conf).decode()


def decode(text: str) -> TelemetryConf | None:
    """Return the settings that `encode` has written."""
    return msgspec.json.decode(text, type=TelemetryConf | None)


@asynccontextmanager
async def exporting(conf: TelemetryConf | None, instance: str) -> AsyncIterator[Tracer]:
    """Give what begins traces, and export their spans inside the block.

    `instance` says which process of the service it is. If nothing can be exported it is logged why;
    traces go on all the same, in the log and to other services.
    """
    tracer = Tracer(0.0 if conf is None or conf.disabled else conf.sampler)
    exporter = None if conf is None else _started(conf, instance, tracer)
    try:
        yield tracer
    finally:
        if exporter is not None:
            tracer.export = None
            await _stopped(exporter)


def _started(conf: TelemetryConf, instance: str, tracer: Tracer) -> Any:
    for key, problem in problems(conf):
        log.error("telemetry_not_exported", field=key, error=problem)
        return None
    if not conf.exports:
        return None
    resource = {
        "service.name": conf.name,
        "service.version": __version__,
        "service.instance.id": instance,
    }
    # Imported only here: it takes its time, and need not be installed.
    otel = importlib.import_module("skyeim_ws.ops.otel")
    try:
        exporter = otel.Exporter(conf, resource, tracer)
    except OSError as error:
        log.error("telemetry_not_exported", field="Telemetry.Endpoint", error=str(error))
        return None
    log.info("telemetry_exported", batcher=conf.batcher, endpoint=conf.endpoint)
    return exporter


async def _stopped(exporter: Any) -> None:
    """Let the last spans go, for a moment: an endpoint that does not answer holds nobody up."""
    loop, drained = asyncio.get_running_loop(), asyncio.Event()

    def drain() -> None:
        exporter.drain()
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(drained.set)

    threading.Thread(target=drain, name="telemetry", daemon=True).start()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await drained.wait()
    except TimeoutError:
        exporter.give_up()
        log.warning("telemetry_unflushed")
