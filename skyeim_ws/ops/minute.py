"""The line of each minute: what a process has done, how long it took, and what it uses."""

import asyncio
import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from skyeim_ws.contract.names import STAT_LOG
from skyeim_ws.contract.timing import BATCH_MESSAGES, Histogram, Timings, duration, quantile

log = structlog.get_logger(STAT_LOG)
trouble = structlog.get_logger()

SECONDS = 60.0


class Usage:
    """The times and the machine's means since this was asked last; times as fine as the buckets."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._counted: dict[tuple[str, ...], list[int]] = {}
        self._cpu = time.process_time()
        self._since = time.monotonic()

    def fields(self) -> dict[str, object]:
        """Return the fields of a line, and count anew from here."""
        now, cpu = time.monotonic(), time.process_time()
        busy = (cpu - self._cpu) / max(now - self._since, 1e-3)
        self._cpu, self._since = cpu, now
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "timings": self._times(),
            "cpu_percent": round(100 * busy),
            "memory_mb": pages * resource.getpagesize() // 1_000_000,
            "descriptors": len(os.listdir("/proc/self/fd")),
        }

    def _times(self) -> dict[str, str]:
        """Return of each kind how often it was, and how long half of them and nearly all took."""
        found = {}
        for event in sorted({event for event, *_ in self._timings.histograms} - {BATCH_MESSAGES}):
            for labels, histogram in sorted(self._timings.summed(event, 1).items()):
                new = self._new((event, *labels), histogram)
                if count := sum(new.buckets):
                    half, most = (duration(quantile(new, share)) for share in (0.5, 0.99))
                    name = " ".join((event.removeprefix("slow_"), *labels))
                    found[name] = f"{count} x, p50 {half}, p99 {most}"
        return found

    def _new(self, key: tuple[str, ...], histogram: Histogram) -> Histogram:
        """Return what was counted since this was asked last."""
        before = self._counted.get(key, [0] * len(histogram.buckets))
        self._counted[key] = histogram.buckets
        new = Histogram(histogram.bounds)
        new.buckets = [now - then for now, then in zip(histogram.buckets, before, strict=True)]
        return new


async def tell(line: Callable[[], Mapping[str, object]]) -> None:
    """Log the line each minute, for good."""
    while True:
        await asyncio.sleep(SECONDS)
        try:
            log.info("stat", **line())
        except Exception:  # a fault of what only tells must stop nothing
            trouble.exception("stat_failed")
