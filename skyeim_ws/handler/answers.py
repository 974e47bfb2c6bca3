"""Answers in JSON, errors included, in the language of whoever asks."""

import math
from http import HTTPStatus
from typing import Any

import msgspec
from tornado.web import RequestHandler

from skyeim_ws.contract.texts import Language, Phrase, Text
from skyeim_ws.handler.gate import gate_of
from skyeim_ws.handler.language import preferred

_STATUS_TEXTS: dict[int, Text] = {
    HTTPStatus.BAD_REQUEST: Text.BAD_REQUEST,
    HTTPStatus.METHOD_NOT_ALLOWED: Text.METHOD,
    HTTPStatus.INTERNAL_SERVER_ERROR: Text.INTERNAL_ERROR,
}


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


def answer_limited(handler: RequestHandler, code: int, phrase: Phrase, wait: float) -> None:
    """Answer who comes too often with 429, and say when to come again; `wait` in seconds."""
    notes(handler)["reason"] = str(phrase)
    handler.set_header("Retry-After", str(math.ceil(wait)))
    message = phrase.spoken(language_of(handler))
    body = {"code": code, "message": message, "retry_after_ms": math.ceil(1000 * wait)}
    answer(handler, HTTPStatus.TOO_MANY_REQUESTS, body)


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
