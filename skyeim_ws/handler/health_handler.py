"""Whether this node serves, for load balancers and people."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

from skyeim_ws.handler.base import CrossOriginHandler, answer

Health = Literal["ok", "degraded", "failed"]
"""`degraded`: Redis is away, and chat goes on all the same; `failed`: this node is about to end."""


class HealthHandler(CrossOriginHandler):
    """`GET /health`: the state, and the number of connections here."""

    def initialize(self, online: Callable[[], int], health: Callable[[], Health]) -> None:
        """Take what counts the connections here, and what knows the state."""
        self._online = online
        self._health = health

    def get(self) -> None:
        """Answer 200 while the node serves, 503 once it has failed."""
        health = self._health()
        status = HTTPStatus.SERVICE_UNAVAILABLE if health == "failed" else HTTPStatus.OK
        answer(self, status, {"status": health, "online": self._online()})
