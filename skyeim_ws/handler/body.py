"""JSON bodies: every way in which one can be wrong is the same error."""

from typing import Protocol, TypeVar

import msgspec

T_co = TypeVar("T_co", covariant=True)


class Decoder(Protocol[T_co]):
    """What makes a typed value of JSON; raises msgspec.DecodeError."""

    def decode(self, body: bytes, /) -> T_co:
        """Return the value."""


class MalformedBodyError(Exception):
    """A body that is not what is wanted; the text is safe to show to its sender."""


def decode(body: bytes, decoder: Decoder[T_co]) -> T_co:
    """Return what a body says; raises MalformedBodyError."""
    try:
        # msgspec looks neither into raw parts nor into strings that nobody reads, and what is not
        # UTF-8 in there would be passed on to clients, who close their connections for it.
        body.decode()
        return decoder.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise MalformedBodyError(f"malformed body: {error}") from error


def compact(raw: msgspec.Raw) -> bytes:
    """Return a raw part of a decoded body without blanks; raises MalformedBodyError."""
    try:
        return bytes(msgspec.json.format(raw, indent=-1))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedBodyError(f"malformed body: {error}") from error
