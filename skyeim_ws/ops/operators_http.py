"""What operators ask a process over HTTP: its metrics, and whether it is well."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from inspect import isawaitable

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from tornado.web import Application, RequestHandler

from skyeim_ws.ops.scrape import Scrape

Problems = Callable[[], list[str] | Awaitable[list[str]]]


class MetricsHandler(RequestHandler):
    """`GET` of the metrics path."""

    def initialize(self, scrape: Scrape) -> None:
        """Take what is shown."""
        self._scrape = scrape

    async def get(self) -> None:
        """Answer in the text format."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(await self._scrape.text())


class ProbeHandler(RequestHandler):
    """`GET` of the health path or the ready path: 200, or 503 with what is wrong."""

    def initialize(self, problems: Problems) -> None:
        """Take what knows why the gateway does not serve."""
        self._problems = problems

    async def get(self) -> None:
        """Answer for a load balancer, which reads the status alone."""
        found = self._problems()
        problems = await found if isawaitable(found) else found
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK)
        self.finish(", ".join(problems) or "OK")


def application(
    metrics_path: str, scrape: Scrape, probes: Mapping[str, Problems] | None = None
) -> Application:
    """Return the web application for operators; `probes` are asked at their paths."""
    return Application(
        [
            (metrics_path, MetricsHandler, {"scrape": scrape}),
            *(
                (path, ProbeHandler, {"problems": problems})
                for path, problems in (probes or {}).items()
            ),
        ],
        log_function=_no_access_log,
    )


def _no_access_log(handler: RequestHandler) -> None:
    """Log nothing: a scrape every few seconds is not news."""
