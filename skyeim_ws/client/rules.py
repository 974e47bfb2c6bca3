"""The rules of the protocol: what a close and a refusal ask of a client; backoff; expiry."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from skyeim_ws.contract.codes import ERROR_CODES, CloseCode, Reason

FRAME_IDS = 200
"""Ids in one `ack` or `presence`."""

BACKOFF_BASE = 1.0
BACKOFF_CAP = 30.0
SHORTEST_PAUSE = 0.1

TRY_AGAIN = {Reason.BUSY, Reason.RATE_LIMITED, Reason.RPC_ERROR}
"""Reasons of a `failed` that a retry with the same msgId may cure."""

ABNORMAL = 1006
"""The close code that stands for a connection which ended without one."""

FINAL = {
    CloseCode.PROTOCOL_ERROR: "protocol_error",
    CloseCode.UNSUPPORTED_DATA: "protocol_error",
    CloseCode.INVALID_PAYLOAD: "protocol_error",
    CloseCode.MESSAGE_TOO_BIG: "message_too_large",
    CloseCode.KICKED: "kicked",
    # The answers to a handshake that no other attempt will change.
    400: "refused",
    403: "refused",
    404: "refused",
}
"""Close codes and HTTP statuses after which a client must not come back by itself, and why."""

UNAUTHORIZED = 401
TOO_MANY = 429

_RETRY_AFTER = re.compile(r"retry_after_ms=([0-9]{1,7})")
_REASONS = {code: reason for reason, code in ERROR_CODES.items() if reason is not Reason.BLOCKED}

Random = Callable[[], float]


class SkyeError(Exception):
    """Something was refused or has failed; `reason` is a constant, `code` one of the protocol.

    Where no code of the protocol fits, `code` is an HTTP status, or 0.
    """

    def __init__(self, reason: str, message: str = "", code: int = 0) -> None:
        super().__init__(message or reason)
        self.reason = reason
        self.code = code or (ERROR_CODES[Reason(reason)] if reason in set(Reason) else 0)


@dataclass(frozen=True, slots=True)
class AfterClose:
    """What follows a close: `final` says why it is for good; else how many seconds to wait."""

    final: str = ""
    wait: float = 0.0
    told: bool = False
    fresh_token: bool = False


def backoff(attempt: int, random: Random) -> float:
    """Return a random pause before attempt `attempt` (0 for the first), in seconds: full jitter."""
    longest = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt, 10))
    return max(SHORTEST_PAUSE, random() * longest)


def after_close(code: int, reason: str, attempt: int, random: Random) -> AfterClose:
    """Say what follows a close code, or the HTTP status that refused a handshake."""
    if code in FINAL:
        return AfterClose(final=FINAL[code])
    told = _RETRY_AFTER.fullmatch(reason) if code in (CloseCode.GOING_AWAY, TOO_MANY) else None
    return AfterClose(
        wait=int(told[1]) / 1000 if told else backoff(attempt, random),
        told=told is not None,
        fresh_token=code in (CloseCode.TOKEN_EXPIRED, UNAUTHORIZED),
    )


def refusal(status: int, code: int, message: str) -> SkyeError:
    """Return the error for an answer over HTTP that is none of success."""
    return SkyeError(_REASONS.get(code, f"http_{status}"), message, code or status)


def expiry_of(token: str) -> float | None:
    """Return when a token expires, in Unix seconds; None if it does not say."""
    try:
        part = token.split(".")[1]
        exp = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"]
    except (ValueError, LookupError, TypeError):
        return None
    return float(exp) if isinstance(exp, int | float) else None
