"""Whether a request may become a WebSocket: RFC 6455, section 4.2.1, answered in JSON."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from tornado.httputil import HTTPHeaders, HTTPServerRequest

from skyeim_ws.contract.texts import Phrase, Text
from skyeim_ws.handler.body import has_body

_KEY_BYTES = 16
_VERSION = "13"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that cannot be upgraded."""

    status: HTTPStatus
    phrase: Phrase
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(request: HTTPServerRequest) -> Refusal | None:
    """Return why a request cannot be upgraded, or None if it can."""
    headers = request.headers
    if request.version != "HTTP/1.1":
        # Over HTTP/1.0 the answer 101 means nothing to a proxy or a client.
        return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, Text.NEEDS_HTTP_1_1())
    if "websocket" not in _tokens(headers, "Upgrade"):
        offer = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return Refusal(HTTPStatus.UPGRADE_REQUIRED, Text.NO_UPGRADE(), offer)
    if headers.get("Sec-WebSocket-Version", "").strip() != _VERSION:
        offer = {"Sec-WebSocket-Version": _VERSION}
        return Refusal(HTTPStatus.UPGRADE_REQUIRED, Text.VERSION(version=_VERSION), offer)
    for wrong, text in (
        ("upgrade" not in _tokens(headers, "Connection"), Text.NO_CONNECTION_UPGRADE),
        (not _is_key(headers), Text.BAD_KEY),
        (has_body(headers), Text.HANDSHAKE_BODY),
    ):
        if wrong:
            return Refusal(HTTPStatus.BAD_REQUEST, text())
    return None


def _tokens(headers: HTTPHeaders, name: str) -> set[str]:
    return {token.strip().lower() for token in headers.get(name, "").split(",")}


def _is_key(headers: HTTPHeaders) -> bool:
    text = headers.get("Sec-WebSocket-Key", "").strip()
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
