"""Who asks: the bearer of the token in a request, wherever that stands."""

from collections.abc import Sequence
from http import HTTPStatus

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from skyeim_ws.handler.answers import fail, notes
from skyeim_ws.handler.gate import gate_of
from skyeim_ws.handler.tokens import Identity, TokenError, verify

BEARER = "bearer"


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
