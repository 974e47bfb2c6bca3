"""What operators ask a process over HTTP: its metrics, whether it is well, and a profile."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from inspect import isawaitable

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from tornado.web import Application, RequestHandler

from skyeim_ws.ops.neighbours import Neighbours
from skyeim_ws.ops.profile import MOST_SECONDS, BusyError, Profiler
from skyeim_ws.ops.scrape import Scrape

PROFILE_PATH = "/debug/pprof/profile"

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


@dataclass(frozen=True, slots=True)
class Profiles:
    """Of whom a profile may be taken: of this process, by its name, and of its neighbours."""

    name: str
    profiler: Profiler
    neighbours: Neighbours


class ProfileHandler(RequestHandler):
    """`GET` of the path of Go's profiles: where the event loop of a process spends its time."""

    def initialize(self, profiles: Profiles) -> None:
        """Take of whom."""
        self._profiles = profiles

    async def get(self) -> None:
        """Answer with collapsed stacks after so many `seconds` of the `process`."""
        names = (self._profiles.name, *self._profiles.neighbours.names)
        process = self.get_query_argument("process", names[0])
        seconds = self.get_query_argument("seconds", "30")
        if process not in names:
            self._refuse(HTTPStatus.NOT_FOUND, f"no such process: one of {', '.join(names)}")
        elif not (seconds.isascii() and seconds.isdigit() and 0 < int(seconds) <= MOST_SECONDS):
            self._refuse(HTTPStatus.BAD_REQUEST, f"seconds: a number from 1 to {MOST_SECONDS}")
        elif process == names[0]:
            await self._take(int(seconds))
        else:
            await self._ask(process, int(seconds))

    async def _take(self, seconds: int) -> None:
        try:
            self._answer((await self._profiles.profiler.take(seconds)).encode())
        except BusyError:
            self._refuse(HTTPStatus.CONFLICT, "a profile is being taken: try again when it is done")

    async def _ask(self, process: str, seconds: int) -> None:
        path = f"{PROFILE_PATH}?seconds={seconds}"
        answer = await self._profiles.neighbours.ask(process, path, seconds)
        if answer is None:
            self._refuse(HTTPStatus.BAD_GATEWAY, f"{process} does not answer")
        else:
            self.set_status(answer.code)
            self._answer(answer.body)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.set_status(status)
        self._answer(f"{why}\n".encode())

    def _answer(self, text: bytes) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)


def application(
    metrics_path: str,
    scrape: Scrape,
    probes: Mapping[str, Problems] | None = None,
    profiles: Profiles | None = None,
) -> Application:
    """Return the web application for operators; `probes` are asked at their paths."""
    profile = [] if profiles is None else [(PROFILE_PATH, ProfileHandler, {"profiles": profiles})]
    return Application(
        [
            (metrics_path, MetricsHandler, {"scrape": scrape}),
            *(
                (path, ProbeHandler, {"problems": problems})
                for path, problems in (probes or {}).items()
            ),
            *profile,
        ],
        log_function=_no_access_log,
    )


def _no_access_log(handler: RequestHandler) -> None:
    """Log nothing: a scrape every few seconds is not news."""
