"""The handlers that all calls over HTTP derive from: JSON, pages of other origins, users."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from tornado.concurrent import Future
from tornado.web import HTTPError, RequestHandler, stream_request_body

from skyeim_ws.conn.tornado_private import stream_of
from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.contract.spans import end_span
from skyeim_ws.contract.texts import Phrase, Text
from skyeim_ws.handler.answers import (
    allowed_methods,
    answer,
    answer_error,
    answer_limited,
    fail,
)
from skyeim_ws.handler.bearer import authenticate
from skyeim_ws.handler.body import has_body
from skyeim_ws.handler.cors import CrossOrigin, preflight
from skyeim_ws.handler.gate import gate_of
from skyeim_ws.handler.numbers import MAX_INT64, parse_number
from skyeim_ws.handler.spans import trace
from skyeim_ws.logic.ports import Refused, Unavailable

log = structlog.get_logger()

MAX_BODY_BYTES = 1048576

_PAUSE = 1.0
"""Seconds for which a user is asked to wait who has too many calls under way."""

HTTP_STATUS: dict[Reason, HTTPStatus] = {
    Reason.INVALID: HTTPStatus.BAD_REQUEST,
    Reason.NOT_FRIEND: HTTPStatus.FORBIDDEN,
    Reason.BLOCKED: HTTPStatus.FORBIDDEN,
    Reason.GROUP_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Reason.NOT_MEMBER: HTTPStatus.FORBIDDEN,
    Reason.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.RPC_ERROR: HTTPStatus.SERVICE_UNAVAILABLE,
}


@stream_request_body
class JsonHandler(RequestHandler):
    """Answers in JSON, errors too; reads a body only when it knows that it will be used."""

    def prepare(self) -> None:
        """Refuse by its head alone what cannot be served; the body was not read yet."""
        if not self.admit():
            return
        if self.request.method not in allowed_methods(self):
            answer_error(self, HTTPStatus.METHOD_NOT_ALLOWED)
            return
        size = parse_number(self.request.headers.get("Content-Length", "0"), 0)
        if size is None:
            self.fail(HTTPStatus.BAD_REQUEST, 400, Text.CONTENT_LENGTH())
        elif size > MAX_BODY_BYTES:
            self._refuse_size()
        elif self.request.method in ("GET", "HEAD") and has_body(self.request.headers):
            self.fail(HTTPStatus.BAD_REQUEST, 400, Text.NO_BODY())

    def admit(self) -> bool:
        """Whether the caller may do this; if not, it has been answered."""
        return True

    def data_received(self, chunk: bytes) -> None:
        """Take a part of the body."""
        if len(self.request.body) + len(chunk) > MAX_BODY_BYTES:
            self._refuse_size()
        else:
            self.request.body += chunk

    def _refuse_size(self) -> None:
        phrase = Text.BODY_TOO_LARGE(most=MAX_BODY_BYTES)
        self.fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 413, phrase)

    def finish(self, chunk: Any = None) -> Future[None]:
        """Finish, and close the connection if the caller does not read the answer in time."""
        stream = stream_of(self.request.connection)
        sent = super().finish(chunk)
        if stream is not None and not sent.done():
            patience = gate_of(self).answer_timeout
            timer = asyncio.get_running_loop().call_later(patience, stream.close)
            sent.add_done_callback(lambda _: timer.cancel())
        return sent

    def on_finish(self) -> None:
        """End the span of the request, if it has one."""
        status = self.get_status()
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        end_span(str(status) if failed else "", **{"http.response.status_code": status})

    def fail(self, status: int, code: int, phrase: Phrase) -> None:
        """Finish with an error."""
        fail(self, status, code, phrase)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a fault of ours by the path alone: the query may hold a token."""
        if not isinstance(value, HTTPError):
            log.error("request_failed", path=self.request.path, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what no method of ours has caught."""
        answer_error(self, status_code)


class CrossOriginHandler(JsonHandler):
    """Answers that pages of other origins may read, as the gate says."""

    def set_default_headers(self) -> None:
        """Tell the browser whose page may read this, errors included."""
        for name, value in self._policy.headers(self.request.headers.get("Origin")).items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Let a preflight through: browsers send it without the token."""
        if self.request.method == "OPTIONS":
            self._answer_preflight()
        else:
            super().prepare()

    def options(self) -> None:
        """Be one of the methods; `prepare` has answered, before any body was read."""

    def _answer_preflight(self) -> None:
        """Say which methods there are, and to a page what it may ask."""
        methods = allowed_methods(self)
        origin = self.request.headers.get("Origin")
        if origin is not None and not self._policy.allows(origin):
            self.fail(HTTPStatus.FORBIDDEN, 403, Text.ORIGIN())
            return
        self.set_status(HTTPStatus.NO_CONTENT)
        self.set_header("Allow", ", ".join(methods))
        for name, value in preflight(methods).items() if origin is not None else ():
            self.set_header(name, value)
        self.finish()

    @property
    def _policy(self) -> CrossOrigin:
        return gate_of(self).cross_origin


class UserHandler(CrossOriginHandler):
    """A call of a user, who shows a token; a subclass implements `ask`."""

    user_id: int

    def initialize(self, secrets: Sequence[str]) -> None:
        """Take the secrets that may have signed a token."""
        self._secrets = secrets
        self._under_way = False

    def admit(self) -> bool:
        """Refuse the call without a valid token, or of a user who calls too often."""
        trace(self, f"{self.request.method} {self.request.path}")
        identity = authenticate(self, self._secrets)
        if identity is None:
            return False
        self.user_id = identity.user_id
        gate = gate_of(self)
        self._under_way = gate.calls_under_way.enter(identity.user_id)
        wait = _PAUSE
        if self._under_way:
            wait = gate.calls.wait(identity.user_id, gate.clock())
        if not wait:
            return True
        gate.stats.calls_limited += 1
        code = ERROR_CODES[Reason.RATE_LIMITED]
        answer_limited(self, code, Text.CALLS_TOO_OFTEN(), wait)
        return False

    def finish(self, chunk: Any = None) -> Future[None]:
        """Finish; the call is over when its answer was read."""
        sent = super().finish(chunk)
        sent.add_done_callback(lambda _: self._leave())
        return sent

    def on_connection_close(self) -> None:
        """Note that nobody waits for the answer."""
        self._leave()

    def _leave(self) -> None:
        if self._under_way:
            self._under_way = False
            gate_of(self).calls_under_way.leave(self.user_id)

    async def ask(self) -> dict[str, Any]:
        """Return the `data` of the answer; raises Refused or Unavailable."""
        raise NotImplementedError

    async def respond(self) -> None:
        """Answer with what `ask` returns, or with its failure."""
        try:
            data = await self.ask()
        except Refused as refused:
            status = HTTP_STATUS.get(refused.reason, HTTPStatus.BAD_REQUEST)
            self.fail(status, ERROR_CODES[refused.reason], refused.phrase)
        except Unavailable:
            self.fail(
                HTTPStatus.SERVICE_UNAVAILABLE,
                ERROR_CODES[Reason.RPC_ERROR],
                Text.UNAVAILABLE(),
            )
        else:
            answer(self, HTTPStatus.OK, {"code": 200, "message": "success", "data": data})

    def text(self, name: str, *, max_length: int = 64) -> str:
        """Return a query argument of 1 to `max_length` characters; raises Refused."""
        value = self.get_query_argument(name, "")
        if not 1 <= len(value) <= max_length:
            raise Refused(Reason.INVALID, Text.LENGTH(name=name, most=max_length))
        return value

    def number(self, name: str, default: int, low: int, high: int = MAX_INT64) -> int:
        """Return an integer query argument between the bounds; raises Refused."""
        value = self.get_query_argument(name, None, strip=False)
        if value is None:
            return default
        number = parse_number(value, low, high)
        if number is None:
            raise Refused(Reason.INVALID, Text.NUMBER(name=name, low=low, high=high))
        return number

    def limit(self, default: int, most: int, *, name: str = "limit") -> int:
        """Return how many entries are asked for; more than `most` is lowered to that.

        Raises Refused.
        """
        return min(self.number(name, default, 1), most)
