"""What the chat says of connections and refusals, in words."""

from skyeim_ws.cli.chat.lines import clean
from skyeim_ws.client import SkyeError, StateChanged
from skyeim_ws.contract.codes import CloseCode, Reason
from skyeim_ws.contract.texts import explanation

_STOPPED = {
    "kicked": "you have logged in elsewhere, or an operator has ended this session",
    "token_expired": "the token has expired",
    "unauthorized": "the gateway does not accept the token",
    "refused": "the gateway refuses this connection; is the address right?",
    "protocol_error": "the gateway and this program do not understand each other",
    "message_too_large": "a message was larger than the gateway takes",
}

_WAITING = {
    CloseCode.NORMAL: "the gateway has ended the connection",
    CloseCode.GOING_AWAY: "the gateway stops or restarts",
    CloseCode.INTERNAL_ERROR: "the gateway has had an error",
    CloseCode.OVERLOADED: "the gateway is full",
    CloseCode.SLOW_CONSUMER: "this terminal was too slow",
    CloseCode.TOKEN_EXPIRED: "the token has expired",
    CloseCode.FLOODING: "you have sent too fast",
    CloseCode.HEARTBEAT_TIMEOUT: "the gateway has not heard from here",
    401: "the gateway does not accept the token",
    429: "you log in too often",
    503: "the gateway is not ready",
}

_UNREACHABLE = "the gateway cannot be reached"


def stopped(reason: str) -> str:
    """Say why the client does not come back."""
    return _STOPPED.get(reason, clean(reason))


def waiting(change: StateChanged, *, was_open: bool) -> str:
    """Say why there is no connection."""
    lost = "the connection was lost" if was_open else _UNREACHABLE
    return _WAITING.get(change.code or 0, lost)


def refused(error: SkyeError) -> str:
    """Say why something was refused."""
    if error.reason in set(Reason) and error.reason != Reason.INVALID:
        return str(explanation(Reason(error.reason)))
    if error.reason in ("unreachable", "timeout"):
        return _UNREACHABLE
    if error.reason == "closed":
        return "there was no answer in time"
    return clean(error)
