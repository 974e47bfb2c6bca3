"""What an error of Redis means: no writes for now, not a master, or a right that we lack."""

import re

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

_NOT_WRITABLE = (
    AskError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_NOT_WRITABLE_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE")

# Before version 7 Redis wraps the error of a command that a script has called.
_IN_SCRIPT = re.compile(
    r"Error running script .*-(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN) "
)


def is_read_only(error: Exception) -> bool:
    """Tell whether Redis takes no writes at all for now; otherwise it refuses this one alone.

    An error that is not an answer of Redis says that one master of a cluster has failed.
    """
    if isinstance(error, ResponseError) and not isinstance(error, _NOT_WRITABLE):
        text = str(error)
        return text.startswith(_NOT_WRITABLE_CODES) or bool(_IN_SCRIPT.search(text))
    return True


def is_demoted(error: Exception) -> bool:
    """Tell whether this server is not a master, so that the address may lead to another by now."""
    if isinstance(error, ReadOnlyError | MasterDownError):
        return True
    text = str(error)
    return text.startswith("NOREPLICAS") or _role_in_script(text)


def _role_in_script(text: str) -> bool:
    found = _IN_SCRIPT.search(text)
    return found is not None and found[1] in ("READONLY", "MASTERDOWN", "NOREPLICAS")


def is_denied(error: Exception) -> bool:
    """Tell whether Redis does not let its user do this, as a command or within a script."""
    return isinstance(error, NoPermissionError) or "ACL failure" in str(error)


def kind_of(error: Exception) -> str:
    """Return what go-zero calls an error that has ended a whole write."""
    if isinstance(error, TimeoutError):
        return "context deadline"
    lost = isinstance(error, ConnectionError | RedisConnectionError)
    return "eof" if lost else "unexpected error"
