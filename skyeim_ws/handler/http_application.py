"""What every request passes before its handler: its target's form, and its client's address."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from socket import socket
from typing import Any

import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from skyeim_ws.conn.fields import MAX_USER_AGENT
from skyeim_ws.contract.texts import Text
from skyeim_ws.contract.timing import duration
from skyeim_ws.handler.answers import notes
from skyeim_ws.handler.base import JsonHandler
from skyeim_ws.handler.gate import Gate, gate_of

log = structlog.get_logger()

MAX_HEAD_BYTES = 16384

SOCKET_PATH = "/ws"
PUSH_PATH = "/api/push"
FILES_PATH = "/web/"


class NotFoundHandler(JsonHandler):
    """Any path that is not ours."""

    def prepare(self) -> None:
        """Answer with 404, whatever the method."""
        self.fail(HTTPStatus.NOT_FOUND, 404, Text.NOTHING_HERE())


class HttpApplication(Application):
    """The routes of one port, for clients that may be behind proxies.

    `upgrade` makes a session of a connection at once, given with the peer's address, or reads
    nothing of it and returns False. Raises OSError.
    """

    def __init__(
        self,
        routes: Sequence[Any],
        gate: Gate,
        upgrade: "Callable[[HttpApplication, socket, str], bool] | None" = None,
    ) -> None:
        super().__init__(
            list(routes),
            default_handler_class=NotFoundHandler,
            log_function=log_request,
            gate=gate,
        )
        self.gate = gate
        self.upgrade = upgrade

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Find the handler by the path alone, whatever form the target has."""
        request.path = origin_form(request.path)
        peer = request.remote_ip or ""
        request.remote_ip = self.gate.proxies.client_address(peer, request.headers)
        return super().find_handler(request, **kwargs)


def origin_form(target: str) -> str:
    """Return the path of a request's target, which may name scheme and host before it.

    RFC 9112, 3.2.2: a server must accept the absolute form, although only proxies get it.
    """
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() not in ("http", "https", "ws", "wss"):
        return target
    return "/" + rest.partition("/")[2]


def _labels(handler: RequestHandler) -> tuple[str, str]:
    """Return path and method for the metrics, of which callers must not be able to make many."""
    method, path = handler.request.method or "", handler.request.path
    if isinstance(handler, NotFoundHandler):
        path = "(none)"
    elif path.startswith(FILES_PATH):
        path = FILES_PATH
    return path, method if method in handler.SUPPORTED_METHODS else "(other)"


def log_request(handler: RequestHandler) -> None:
    """Log a request that was answered, by its path alone: the query may hold a token."""
    status, request, took = handler.get_status(), handler.request, handler.request.request_time()
    fields = {
        "method": request.method,
        "path": request.path,
        "status": status,
        "duration": duration(took),
        **notes(handler),
        "remote": request.remote_ip,
        "user_agent": request.headers.get("User-Agent", "")[:MAX_USER_AGENT],
    }
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        return  # the connection has lines of its own
    route, method = _labels(handler)
    timings = gate_of(handler).stats.timings
    timings.note("slow_http", took, route, method, str(status), method=method, path=route)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request_failed", **fields)
    elif request.path == SOCKET_PATH:
        log.info("handshake_refused", **fields)
    elif status >= HTTPStatus.BAD_REQUEST:
        log.info("call_refused", **fields)
    elif "user" in fields or request.path.startswith(PUSH_PATH):
        log.info("call_answered", **fields)
    else:
        # Anybody may ask for these: probes do so each second, and a page has many files.
        log.debug("call_answered", **fields)
