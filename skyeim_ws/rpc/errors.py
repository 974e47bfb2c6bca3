"""What a failed call means: a refusal with a reason, or a service that could not be asked."""

import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import grpc
import structlog
from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.timing import duration
from skyeim_ws.logic.ports import Refused, Unavailable

LOG_INTERVAL = 10.0
"""Seconds between two log lines about the same failure of the same method."""

REASON_KEY = "reason"
"""The trailing metadata key in which our own servers name the reason."""

# What each refusal means when the server names no reason.
_REFUSALS: dict[StatusCode, Reason | None] = {
    StatusCode.INVALID_ARGUMENT: Reason.INVALID,
    StatusCode.NOT_FOUND: Reason.GROUP_NOT_FOUND,
    StatusCode.ALREADY_EXISTS: Reason.MSG_ID_CONFLICT,
    StatusCode.PERMISSION_DENIED: None,
}
_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}

log = structlog.get_logger()


class RpcFailed(Exception):  # noqa: N818 - it states what happened, as its siblings in the ports do
    """A call ended with another status than OK.

    `reason` is empty unless the server is ours. `duplicate`: its database said that what was to be
    stored is there already.
    """

    def __init__(self, code: StatusCode, reason: str = "", *, duplicate: bool = False) -> None:
        super().__init__(f"{code.name} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.duplicate = duplicate


def failure(error: grpc.aio.AioRpcError) -> RpcFailed:
    """Return what the error of grpcio says."""
    # The type stubs are wrong: its entries are pairs.
    metadata: Iterable[tuple[str, str | bytes]] = cast(Any, error.trailing_metadata()) or ()
    named = [value for key, value in metadata if key == REASON_KEY]
    reason = named[0] if named and isinstance(named[0], str) else ""
    return failed(error.code(), error.details() or "", reason)


def failed(code: StatusCode, details: str, reason: str) -> RpcFailed:
    """Return a failure of which the server says so much."""
    if code is StatusCode.CANCELLED:  # by the server, which is being stopped
        code = StatusCode.UNAVAILABLE
    # Existing servers pass on the words of the database: MySQL says "Duplicate entry".
    return RpcFailed(code, reason, duplicate="duplicate entry" in details.lower())


def classify(code: StatusCode, reason: str = "") -> Refused | Unavailable | None:
    """Return what a status other than OK means for the caller.

    None: the call was denied, and the server did not say why in words that we know.
    """
    if code not in _REFUSALS:
        return Unavailable(code.name)
    known = Reason(reason) if reason in set(Reason) else _REFUSALS[code]
    return None if known is None else Refused(known)


def is_refusal(code: StatusCode) -> bool:
    """Tell whether the status is an answer of the service, and no failure."""
    return code in _REFUSALS


def status_code(number: int) -> StatusCode:
    """Return the status with this number; UNKNOWN if there is none."""
    return _CODES.get(number, StatusCode.UNKNOWN)


class FailureLog:
    """Logs failed calls of one service, one line per method and code in `LOG_INTERVAL`.

    What is left out in between is counted in the next line. `clock` gives seconds.
    """

    def __init__(self, service: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        # Bounded by the methods there are, times the codes.
        self._quiet_until: dict[tuple[str, StatusCode], float] = {}
        self._suppressed: dict[tuple[str, StatusCode], int] = {}

    def note(self, method: str, code: StatusCode, seconds: float) -> None:
        """Log a failure that took so many seconds, or count it."""
        key = (method, code)
        now = self._clock()
        if now < self._quiet_until.get(key, now):
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return
        self._quiet_until[key] = now + LOG_INTERVAL
        log.warning(
            "rpc_failed",
            callee=self._service,
            method=method,
            code=code.name,
            duration=duration(seconds),
            suppressed=self._suppressed.pop(key, 0),
        )
