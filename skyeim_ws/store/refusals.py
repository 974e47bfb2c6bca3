"""Which errors of Redis mean that it takes no writes for now."""

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

_NOT_WRITABLE = (
    AskError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_NOT_WRITABLE_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE")


def refuses_writes(error: Exception) -> bool:
    """Tell whether Redis takes no writes for now, rather than not this one.

    What is no answer at all is the failure of one master of a cluster.
    """
    if isinstance(error, ResponseError) and not isinstance(error, _NOT_WRITABLE):
        return str(error).startswith(_NOT_WRITABLE_CODES)
    return True
