"""Bodies of requests: whether there is one, and JSON whose every fault is the same error."""

from typing import Protocol, TypeVar

import msgspec
from tornado.httputil import HTTPHeaders

from skyeim_ws.conn.decoding import fault
from skyeim_ws.contract.texts import Text

T_co = TypeVar("T_co", covariant=True)


class Decoder(Protocol[T_co]):
    """What makes a typed value of JSON; raises msgspec.DecodeError."""

    def decode(self, body: bytes, /) -> T_co:
        """Return the value."""


class MalformedBodyError(Exception):
    """A body that is not what is wanted; the phrase is safe to show to its sender."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        found = fault(error)
        self.phrase = found if found.text is Text.FIELD else Text.MALFORMED_BODY()


def has_body(headers: HTTPHeaders) -> bool:
    """Whether a request with these headers brings a body."""
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def decode(body: bytes, decoder: Decoder[T_co]) -> T_co:
    """Return what a body says; raises MalformedBodyError."""
    try:
        # msgspec looks neither into raw parts nor into strings that nobody reads, and what is not
        # UTF-8 in there would be passed on to clients, who close their connections for it.
        body.decode()
        return decoder.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise MalformedBodyError(error) from error


def compact(raw: msgspec.Raw) -> bytes:
    """Return a raw part of a decoded body without blanks; raises MalformedBodyError."""
    try:
        return bytes(msgspec.json.format(raw, indent=-1))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedBodyError(error) from error
