"""Whether this node serves, for load balancers and people."""

from collections.abc import Callable
from http import HTTPStatus

from skyeim_ws.handler.base import JsonHandler, answer


class HealthHandler(JsonHandler):
    """`GET /health`; `degraded` says that Redis is away and that chat goes on all the same."""

    def initialize(self, online: Callable[[], int], healthy: Callable[[], bool]) -> None:
        """Take what counts the connections here, and what knows whether Redis answers."""
        self._online = online
        self._healthy = healthy

    def get(self) -> None:
        """Answer with state and number of connections."""
        status = "ok" if self._healthy() else "degraded"
        answer(self, HTTPStatus.OK, {"status": status, "online": self._online()})
