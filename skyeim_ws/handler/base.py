"""JSON answers and the bearer's token, for everything that is asked over HTTP."""

import asyncio
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from tornado.concurrent import Future
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler, stream_request_body

from skyeim_ws.conn.tornado_private import stream_of
from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.contract.spans import SPAN, TRACEPARENT, Kind, Span, end_span
from skyeim_ws.contract.texts import Language, Phrase, Text
from skyeim_ws.handler.body import has_body
from skyeim_ws.handler.cors import CrossOrigin, preflight
from skyeim_ws.handler.gate import gate_of
from skyeim_ws.handler.language import preferred
from skyeim_ws.handler.numbers import MAX_INT64, parse_number
from skyeim_ws.handler.tokens import Identity, TokenError, verify
from skyeim_ws.logic.ports import Refused, Unavailable

log = structlog.get_logger()

BEARER = "bearer"

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

_STATUS_TEXTS: dict[int, Text] = {
    HTTPStatus.BAD_REQUEST: Text.BAD_REQUEST,
    HTTPStatus.METHOD_NOT_ALLOWED: Text.METHOD,
    HTTPStatus.INTERNAL_SERVER_ERROR: Text.INTERNAL_ERROR,
}


def offered_subprotocols(request: HTTPServerRequest) -> list[str]:
    """Return what the client offers in Sec-WebSocket-Protocol."""
    header = request.headers.get("Sec-WebSocket-Protocol", "")
    return [part.strip() for part in header.split(",") if part.strip()]


def bearer_token(request: HTTPServerRequest) -> str:
    """Return the token from the query, the Authorization header or the subprotocols; else ""."""
    if query := request.query_arguments.get("token"):
        return query[-1].decode("utf-8", "replace")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == BEARER:
        return token.strip()
    match offered_subprotocols(request):
        case [first, token, *_] if first.lower() == BEARER:
            return token
    return ""


def answer(handler: RequestHandler, status: int, body: dict[str, Any]) -> None:
    """Finish a request with a JSON body."""
    handler.set_status(status)
    handler.set_header("Content-Type", "application/json; charset=utf-8")
    handler.set_header("Cache-Control", "no-store")
    handler.finish(msgspec.json.encode(body))


def language_of(handler: RequestHandler) -> Language:
    """Return the language that the caller prefers, else the one that is configured."""
    return preferred(handler.request.headers.get("Accept-Language", ""), gate_of(handler).language)


def notes(handler: RequestHandler) -> dict[str, object]:
    """Return what the log's line of this request says beside the usual; it may be added to."""
    found: dict[str, object] = vars(handler).setdefault("notes", {})
    return found


def fail(handler: RequestHandler, status: int, code: int, phrase: Phrase) -> None:
    """Finish a request with an error that its caller can read."""
    notes(handler).setdefault("reason", str(phrase))
    message = phrase.spoken(language_of(handler))
    answer(handler, status, {"code": code, "message": message})


def authenticate(handler: RequestHandler, secrets: Sequence[str]) -> Identity | None:
    """Return the bearer of the request's token, or answer it with 401."""
    try:
        identity = verify(bearer_token(handler.request), secrets)
    except TokenError as error:
        notes(handler)["reason"] = str(error)
        handler.set_header("WWW-Authenticate", "Bearer")
        fail(handler, HTTPStatus.UNAUTHORIZED, 401, error.phrase)
        return None
    notes(handler)["user"] = identity.user_id
    gate_of(handler).known(handler.request)
    return identity


def answer_limited(handler: RequestHandler, code: int, phrase: Phrase, wait: float) -> None:
    """Answer who comes too often with 429, and say when to come again; `wait` in seconds."""
    notes(handler)["reason"] = str(phrase)
    handler.set_header("Retry-After", str(math.ceil(wait)))
    message = phrase.spoken(language_of(handler))
    body = {"code": code, "message": message, "retry_after_ms": math.ceil(1000 * wait)}
    answer(handler, HTTPStatus.TOO_MANY_REQUESTS, body)


def begin_span(handler: RequestHandler, name: str) -> Span | None:
    """Begin the span of a request in its caller's trace, or in a new one if it is its turn.

    It is that of the running task, which has to be the request's own.
    """
    tracer, request = gate_of(handler).stats.tracer, handler.request
    caller = request.headers.get(TRACEPARENT, "")
    if not caller and (query := request.query_arguments.get(TRACEPARENT)):
        caller = query[-1].decode("ascii", "replace")
    span = tracer.begin(name, Kind.SERVER, caller) if caller or tracer.sampler else None
    if span is not None:
        SPAN.set(span)
    return span


def trace(handler: RequestHandler, name: str) -> None:
    """Begin the span of a request, and name it in the answer, as go-zero does."""
    if (span := begin_span(handler, name)) is not None:
        handler.set_header(TRACEPARENT, span.traceparent)


def allowed_methods(handler: RequestHandler) -> list[str]:
    """Return the methods that a handler implements."""
    kind = type(handler)
    return [
        name
        for name in kind.SUPPORTED_METHODS
        if getattr(kind, name.lower()) is not getattr(RequestHandler, name.lower())
    ]


def answer_error(handler: RequestHandler, status: int) -> None:
    """Answer what no method of ours has answered; a 405 says which methods there are."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        handler.set_header("Allow", ", ".join(allowed_methods(handler)))
    fail(handler, status, status, _STATUS_TEXTS.get(status, Text.REQUEST_FAILED)())


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
