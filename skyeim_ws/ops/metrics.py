"""The numbers of a process in the families of Prometheus, read when somebody asks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from skyeim_ws.contract.timing import Histogram, Timings
from skyeim_ws.ops import catalogue, logs
from skyeim_ws.ops.catalogue import Kind

Number = int | float
Labelled = Mapping[tuple[str, ...], Number]
Reading = Mapping[str, Number | Labelled]
"""What a process measures, by the `key` of the metric; with labels, by their values."""

_MS, _SECONDS_IN_MS = "_ms", 1000


class CatalogueCollector(Collector):
    """Gives the metrics of a catalogue: from the timings, or from what `read` returns."""

    def __init__(
        self, rows: Sequence[catalogue.Metric], timings: Timings, read: Callable[[], Reading]
    ) -> None:
        self._rows = rows
        self._timings = timings
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Yield a family for each row, also for one without samples yet."""
        reading = self._read()
        for row in self._rows:
            if row.kind is Kind.HISTOGRAM:
                yield self._histograms(row)
            elif row.event:
                yield _numbers(row, self._counts(row))
            else:
                found = reading[row.key]
                yield _numbers(row, found if isinstance(found, Mapping) else {(): found})

    def _histograms(self, row: catalogue.Metric) -> Metric:
        family = HistogramMetricFamily(row.name, row.help, labels=row.labels)
        scale = _SECONDS_IN_MS if row.name.endswith(_MS) else 1
        for labels, histogram in sorted(self._timings.summed(row.event, len(row.labels)).items()):
            family.add_metric(labels, _buckets(histogram, scale), scale * histogram.total)
        return family

    def _counts(self, row: catalogue.Metric) -> Labelled:
        """Return how often each of the labels came, but for those that say that there is none."""
        found = self._timings.summed(row.event, len(row.labels))
        return {labels: sum(each.buckets) for labels, each in found.items() if all(labels)}


def _buckets(histogram: Histogram, scale: int) -> list[tuple[str, float]]:
    bounds = [f"{scale * bound:g}" for bound in histogram.bounds] + ["+Inf"]
    return list(zip(bounds, accumulate(map(float, histogram.buckets)), strict=True))


def _numbers(row: catalogue.Metric, values: Labelled) -> Metric:
    kind = CounterMetricFamily if row.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(row.name, row.help, labels=row.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def of_process(build: Mapping[str, str]) -> Reading:
    """Return what every process measures; `build` are version and commit."""
    lines = logs.lines()
    return {
        catalogue.PROCESS_UP.key: 1,
        "build_info": {tuple(build.values()): 1},
        "log_lines_waiting": lines.waiting,
        "log_lines_dropped": lines.dropped,
    }


def registry(
    rows: Sequence[catalogue.Metric], timings: Timings, read: Callable[[], Reading]
) -> CollectorRegistry:
    """Return the metrics of this process: those of the system, and those of its catalogue."""
    result = CollectorRegistry()
    ProcessCollector(registry=result)
    GCCollector(registry=result)
    result.register(CatalogueCollector(rows, timings, read))
    return result
