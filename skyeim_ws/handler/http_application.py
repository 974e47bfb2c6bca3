"""What every request passes before its handler: its target's form, and its client's address."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from skyeim_ws.contract.texts import Text
from skyeim_ws.handler.base import JsonHandler
from skyeim_ws.handler.gate import Gate

log = structlog.get_logger()


class NotFoundHandler(JsonHandler):
    """Any path that is not ours."""

    def prepare(self) -> None:
        """Answer with 404, whatever the method."""
        self.fail(HTTPStatus.NOT_FOUND, 404, Text.NOTHING_HERE())


class HttpApplication(Application):
    """The routes of one port, for clients that may be behind proxies."""

    def __init__(self, routes: Sequence[Any], gate: Gate) -> None:
        super().__init__(
            list(routes),
            default_handler_class=NotFoundHandler,
            log_function=_log_request,
            gate=gate,
        )
        self.gate = gate

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


def _log_request(handler: RequestHandler) -> None:
    """Log a failed request by its path alone: the query may hold a token."""
    status = handler.get_status()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        request = handler.request
        log.warning("request_failed", method=request.method, path=request.path, status=status)
