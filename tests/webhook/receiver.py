"""A push service for the tests: a real HTTP server that checks what it gets."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from tests.api.traffic import check_posted
from tests.ports import free_port

SECRET = "what the push service knows us by"


@dataclass
class Receiver:
    """Takes posts; `statuses` are answered first, one for each, then 204."""

    port: int
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    posts: list[HTTPServerRequest] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/away"

    @property
    def told(self) -> list[tuple[int, str]]:
        """The users of the notices that were taken, each with the msgId or the kind."""
        return [
            (user_id, each["message"]["msgId"] if "message" in each else each["kind"])
            for each in self.taken
            for user_id in each.get("userIds") or [each["userId"]]
        ]

    def take(self, request: HTTPServerRequest) -> int:
        """Check the signature as docs/webhook.md has it; return the status of the answer."""
        self.posts.append(request)
        signed = request.headers["X-Skyeim-Timestamp"].encode() + b"." + request.body
        expected = "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert request.headers["X-Skyeim-Signature"] == expected
        check_posted(request.body)
        status = self.statuses.pop(0) if self.statuses else 204
        if status < 300:
            self.taken += json.loads(request.body)["notices"]
        return status


class _Handler(RequestHandler):
    def initialize(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def post(self) -> None:
        self.set_status(self.receiver.take(self.request))
        for name, value in self.receiver.headers.items():
            self.set_header(name, value)


@asynccontextmanager
async def receiving(
    port: int = 0, ssl_options: Mapping[str, str] | None = None
) -> AsyncIterator[Receiver]:
    """Run a push service."""
    port = port or free_port()
    receiver = Receiver(port)
    server = HTTPServer(
        Application([("/away", _Handler, {"receiver": receiver})], log_function=lambda _: None),
        ssl_options=dict(ssl_options) if ssl_options else None,
    )
    server.listen(port, "127.0.0.1")
    try:
        yield receiver
    finally:
        server.stop()
        await server.close_all_connections()
