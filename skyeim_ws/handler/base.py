"""JSON answers and the bearer's token, for everything that is asked over HTTP."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.handler.tokens import Identity, TokenError, verify
from skyeim_ws.logic.ports import Refused, Unavailable

log = structlog.get_logger()

BEARER = "bearer"

HTTP_STATUS: dict[Reason, HTTPStatus] = {
    Reason.INVALID: HTTPStatus.BAD_REQUEST,
    Reason.NOT_FRIEND: HTTPStatus.FORBIDDEN,
    Reason.BLOCKED: HTTPStatus.FORBIDDEN,
    Reason.GROUP_NOT_FOUND: HTTPStatus.NOT_FOUND,
    Reason.NOT_MEMBER: HTTPStatus.FORBIDDEN,
    Reason.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.RPC_ERROR: HTTPStatus.SERVICE_UNAVAILABLE,
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


def authenticate(handler: RequestHandler, secrets: Sequence[str]) -> Identity | None:
    """Return the bearer of the request's token, or answer it with 401."""
    try:
        return verify(bearer_token(handler.request), secrets)
    except TokenError as error:
        log.info("token_refused", reason=str(error), remote=handler.request.remote_ip)
        handler.set_header("WWW-Authenticate", "Bearer")
        answer(handler, HTTPStatus.UNAUTHORIZED, {"code": 401, "message": str(error)})
        return None


class JsonHandler(RequestHandler):
    """Answers in JSON, errors too."""

    def fail(self, status: int, code: int, message: str) -> None:
        """Finish with an error."""
        answer(self, status, {"code": code, "message": message})

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a fault of ours by the path alone: the query may hold a token."""
        if not isinstance(value, HTTPError):
            log.error("request_failed", path=self.request.path, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what no method of ours has caught."""
        self.fail(status_code, status_code, HTTPStatus(status_code).phrase)


class UserHandler(JsonHandler):
    """A call of a user, who shows a token; a subclass implements `ask`."""

    user_id: int

    def initialize(self, secrets: Sequence[str]) -> None:
        """Take the secrets that may have signed a token."""
        self._secrets = secrets

    def prepare(self) -> None:
        """Refuse the call without a valid token."""
        identity = authenticate(self, self._secrets)
        if identity is not None:
            self.user_id = identity.user_id

    async def ask(self) -> dict[str, Any]:
        """Return the `data` of the answer; raises Refused or Unavailable."""
        raise NotImplementedError

    async def respond(self) -> None:
        """Answer with what `ask` returns, or with its failure."""
        try:
            data = await self.ask()
        except Refused as refused:
            status = HTTP_STATUS.get(refused.reason, HTTPStatus.BAD_REQUEST)
            self.fail(status, ERROR_CODES[refused.reason], str(refused))
        except Unavailable:
            self.fail(
                HTTPStatus.SERVICE_UNAVAILABLE,
                ERROR_CODES[Reason.RPC_ERROR],
                "a service is unavailable; try again",
            )
        else:
            answer(self, HTTPStatus.OK, {"code": 200, "message": "success", "data": data})

    def text(self, name: str, *, max_length: int = 64) -> str:
        """Return a query argument of 1 to `max_length` characters; raises Refused."""
        value = self.get_query_argument(name, "")
        if not 1 <= len(value) <= max_length:
            raise Refused(Reason.INVALID, f"{name}: 1 to {max_length} characters are wanted")
        return value

    def number(self, name: str, default: int, low: int, high: int = 2**63 - 1) -> int:
        """Return an integer query argument between the bounds; raises Refused."""
        value = self.get_query_argument(name, None)
        if value is None:
            return default
        try:
            number = int(value) if len(value) <= 20 and "_" not in value else low - 1
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise Refused(Reason.INVALID, f"{name}: an integer from {low} to {high} is wanted")
        return number
