"""The numbers of a running gateway, in the Prometheus text format."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from tornado.web import Application, RequestHandler

_PREFIX = "skyeim_ws_"

CLOSES = _PREFIX + "closes"

Read = Callable[[], Mapping[str, int | float]]
Problems = Callable[[], list[str]]
ReadByService = Callable[[], Mapping[str, Mapping[str, int]]]


class GatewayCollector(Collector):
    """Reads plain numbers only when somebody asks for the metrics."""

    def __init__(
        self, counters: Read, gauges: Read, by_service: ReadByService, closes: Mapping[int, int]
    ) -> None:
        self._counters = counters
        self._gauges = gauges
        self._by_service = by_service
        self._closes = closes

    def collect(self) -> Iterable[Metric]:
        """Yield a metric per number; the name says what it counts."""
        for name, value in self._counters().items():
            yield CounterMetricFamily(_PREFIX + name, name.replace("_", " "), value=value)
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(_PREFIX + name, name.replace("_", " "), value=value)
        for name, values in self._by_service().items():
            family = GaugeMetricFamily(_PREFIX + name, name.replace("_", " "), labels=["service"])
            for service, value in values.items():
                family.add_metric([service], value)
            yield family
        closes = CounterMetricFamily(CLOSES, "connections that have ended", labels=["code"])
        for code, count in sorted(self._closes.items()):
            closes.add_metric([str(code)], count)
        yield closes


def registry(
    build: Mapping[str, str],
    counters: Read,
    gauges: Read,
    by_service: ReadByService,
    closes: Mapping[int, int],
) -> CollectorRegistry:
    """Return the metrics of this process and of its gateway.

    Of `by_service` each metric has a label `service`; `build` are the labels of one that is 1.
    `closes` counts the connections that have ended, by close code, and is read at each scrape.
    """
    result = CollectorRegistry()
    ProcessCollector(registry=result)
    PlatformCollector(registry=result)
    GCCollector(registry=result)
    Info(_PREFIX + "build", "build of the program", registry=result).info(dict(build))
    result.register(GatewayCollector(counters, gauges, by_service, closes))
    return result


class MetricsHandler(RequestHandler):
    """`GET` of the metrics path."""

    def initialize(self, metrics: CollectorRegistry) -> None:
        """Take what is shown."""
        self._metrics = metrics

    def get(self) -> None:
        """Answer in the text format."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(self._metrics))


class ProbeHandler(RequestHandler):
    """`GET` of the health path or the ready path: 200, or 503 with what is wrong."""

    def initialize(self, problems: Problems) -> None:
        """Take what knows why the gateway does not serve."""
        self._problems = problems

    def get(self) -> None:
        """Answer for a load balancer, which reads the status alone."""
        problems = self._problems()
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK)
        self.finish(", ".join(problems) or "OK")


def metrics_application(path: str, metrics: CollectorRegistry) -> Application:
    """Return a web application that shows the metrics alone."""
    return Application([(path, MetricsHandler, {"metrics": metrics})], log_function=_no_access_log)


def dev_application(
    *, metrics_path: str, metrics: CollectorRegistry, probes: Mapping[str, Problems]
) -> Application:
    """Return the web application for operators; `probes` are asked at their paths."""
    return Application(
        [
            (metrics_path, MetricsHandler, {"metrics": metrics}),
            *((path, ProbeHandler, {"problems": problems}) for path, problems in probes.items()),
        ],
        log_function=_no_access_log,
    )


def _no_access_log(handler: RequestHandler) -> None:
    """Log nothing: a scrape every few seconds is not news."""
