"""One scrape for all processes of the program: each sample says of which process it is."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from skyeim_ws.ops.catalogue import PROCESS_UP
from skyeim_ws.ops.neighbours import Neighbours

PATH = "/metrics"
"""Where neighbours answer."""

_BEGAN = "process_start_time_seconds"
_COUNTED = ("counter", "histogram")

Families = Mapping[str, Metric]


class Scrape:
    """The metrics of this process, by its name, and those of its neighbours."""

    def __init__(self, name: str, own: CollectorRegistry, neighbours: Neighbours) -> None:
        self._name = name
        self._own = own
        self._neighbours = neighbours
        self._totals = Totals()

    async def text(self) -> bytes:
        """Return all of them in the text format."""
        merged: dict[str, Metric] = {}
        _add(merged, self._name, self._own.collect())
        for name, answer in (await self._neighbours.get(PATH)).items():
            found = None
            if answer is not None and not answer.error:
                text = answer.body.decode()
                found = {each.name: each for each in text_string_to_metric_families(text)}
            _add(merged, name, self._totals.of(name, found).values())
        return generate_latest(_Merged(merged.values()))


class Totals:
    """What processes have counted, also before they were started again.

    A total must not go back with the death of a process: while it is away its counters stay as they
    were seen last, and what it counts from anew is added to them.
    """

    def __init__(self) -> None:
        self._shown: dict[str, Families] = {}
        self._before: dict[str, Families] = {}

    def of(self, name: str, found: Families | None) -> Families:
        """Return what is to be shown of a process; None if it does not answer."""
        shown = self._shown.get(name, {})
        counted = {each.name: each for each in shown.values() if each.type in _COUNTED}
        if found is None:
            return counted | {PROCESS_UP.name: _down()}
        if shown and shown[_BEGAN].samples != found[_BEGAN].samples:
            self._before[name] = counted
        before = self._before.get(name, {})
        self._shown[name] = {
            family.name: _sum(family, before[family.name].samples)
            if family.name in before
            else family
            for family in found.values()
        }
        return self._shown[name]


def _sum(family: Metric, before: Sequence[Sample]) -> Metric:
    """Return a family with the counts of before on top, also where nothing was counted anew."""
    now = {_key(sample): sample.value for sample in family.samples}
    result = Metric(family.name, family.documentation, family.type)
    for sample in before:
        result.samples.append(sample._replace(value=sample.value + now.pop(_key(sample), 0.0)))
    result.samples += [sample for sample in family.samples if _key(sample) in now]
    return result


def _key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))


def _down() -> Metric:
    return GaugeMetricFamily(PROCESS_UP.name, PROCESS_UP.help, 0)


def _add(merged: dict[str, Metric], process: str, families: Iterable[Metric]) -> None:
    for family in families:
        made = Metric(family.name, family.documentation, family.type)
        kept = merged.setdefault(family.name, made)
        kept.samples += [
            sample._replace(labels={**sample.labels, "process": process})
            for sample in family.samples
        ]


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
