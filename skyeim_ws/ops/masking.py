"""What of a value may stand in a log: no secret, no character that plays tricks on who reads it.

Each pattern begins with a fixed word and goes on with classes of characters that have none in
common, so that the time is in proportion to the text, whatever that is: callers without a token
can have texts of some KB logged.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

MASK = "***"
REPLACEMENT = "\ufffd"

_SECRET_FIELD = re.compile(r"token|secret|passw|authorization|cookie|^pass$", re.IGNORECASE)

_TRICKS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, delete, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of text
    "\u2028\u2029\ufeff\ud800-\udfff]"  # ends of line, byte order mark, halves of characters
)
_LAYOUT = re.compile("[\t\n]")
_MULTILINE = frozenset({"error", "exception", "stack"})
"""Fields whose line feeds mean something."""

_SECRET_TEXT = re.compile(
    r"""(?ix)
    # A header, to the end of its line: `Authorization: Basic eA==`, `('cookie', 'a=b; c=d')`.
    (?P<header> (?:authorization|cookie|push[-_]secret) ["'\s\ufffd]* [:=,] ) [^\r\n]+
    # A value with its name: in a URL, in YAML, in Python.
    | (?P<name> (?:token|secret|passw(?:or)?d|pwd) ["'\s\ufffd]* [:=] ["'\s\ufffd]* )
      [^\s&"',;)\]}\ufffd] [^\s&"',;)\]}]*
    | (?P<scheme> bearer ["'\s,:=\ufffd]+ ) [^"'\s,:=;\ufffd] [^"'\s,;]*
    | (?P<login> :// [^\s/:@]* : ) [^\s/@]+ (?= @ )
    # A JSON Web Token, wherever it stands.
    | (?P<jwt> (?-i:eyJ) [\w.~+/=%-]* )
    """
)


def masked_field(name: object, value: Any) -> Any:
    """Return what may be logged under this name."""
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    if value and isinstance(name, str) and _SECRET_FIELD.search(name):
        return MASK
    return masked(value, multiline=name in _MULTILINE)


def masked(value: Any, *, multiline: bool = False) -> Any:
    """Return a value without secrets and control characters, in types that every log can show."""
    if isinstance(value, Enum):
        value = value.value if isinstance(value.value, int | str) else value.name
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_key(key): masked_field(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    text = value if isinstance(value, str) else str(value)  # an exception, an address
    if text.isascii() and (text.isalnum() or text.isidentifier()):
        return text  # ids and names of events, which are most of what is logged
    text = _TRICKS.sub(REPLACEMENT, text)
    if not multiline:
        text = _LAYOUT.sub(" ", text)
    return _SECRET_TEXT.sub(_hide, text)


def _key(key: object) -> object:
    return _TRICKS.sub(REPLACEMENT, key) if isinstance(key, str) else key


def _hide(match: re.Match[str]) -> str:
    token = match["jwt"]
    if token is not None:
        return MASK if "." in token or "%2e" in token.lower() else token
    before = match["header"] or match["name"] or match["scheme"] or match["login"]
    return f"{before}{MASK}"
