"""Whether this node serves, for load balancers and people."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from skyeim_ws.handler.answers import answer
from skyeim_ws.handler.base import CrossOriginHandler

FAILED = "task_ended"
"""The reason with which a node is about to end; with any other it goes on."""


class HealthHandler(CrossOriginHandler):
    """`GET /health`: the state with its reasons, and the number of connections here."""

    def initialize(
        self,
        online: Callable[[], int],
        problems: Callable[[], list[str]],
        build: Mapping[str, str],
    ) -> None:
        """Take what counts the connections here and knows why this node is not ready.

        `build` says which program this is.
        """
        self._build = build
        self._online = online
        self._problems = problems

    def get(self) -> None:
        """Answer 200 while the node serves, though not all of it may work; 503 once it failed."""
        problems = self._problems()
        body: dict[str, Any] = {"status": "ok", "online": self._online(), **self._build}
        status = HTTPStatus.OK
        if problems:
            body |= {"status": "degraded", "reasons": problems}
        if FAILED in problems:
            body["status"] = "failed"
            status = HTTPStatus.SERVICE_UNAVAILABLE
        answer(self, status, body)
