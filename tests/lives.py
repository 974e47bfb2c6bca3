"""Sessions as they stand in Redis, and the life of Redis in which they were written."""

import re
from typing import Any

_LIFE = re.compile(rb"(?<=[ :])[0-9a-f]{8}$")


def lifeless(stored: Any) -> bytes | None:
    """Return a session as `<node> <connection>`, and the mark of one that has ended as `clean`."""
    return _LIFE.sub(b"", stored).rstrip(b" :") if isinstance(stored, bytes) else None


def older(stored: Any) -> bytes:
    """Return a session, or the mark of one, as if it were of an earlier life of Redis."""
    assert isinstance(stored, bytes)
    return _LIFE.sub(b"0000dead", stored)
