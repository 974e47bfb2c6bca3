"""The tables of close codes, failure reasons and error codes that clients see."""

from enum import IntEnum, StrEnum


class CloseCode(IntEnum):
    """WebSocket close codes; each says whether the client may come back."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_PAYLOAD = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    OVERLOADED = 1013
    KICKED = 4001
    SLOW_CONSUMER = 4002
    TOKEN_EXPIRED = 4003
    FLOODING = 4004
    HEARTBEAT_TIMEOUT = 4005


class Reason(StrEnum):
    """Why a send failed: the `reason` of an `ack` whose status is `failed`."""

    INVALID = "invalid"
    NOT_FRIEND = "not_friend"
    BLOCKED = "blocked"
    GROUP_NOT_FOUND = "group_not_found"
    NOT_MEMBER = "not_member"
    MUTED = "muted"
    AT_ALL_DENIED = "at_all_denied"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    RPC_ERROR = "rpc_error"
    MSG_ID_CONFLICT = "msg_id_conflict"


UNKNOWN_TYPE = 30013
"""The error code of a frame whose `type` is not known; it belongs to no reason."""

ERROR_CODES: dict[Reason, int] = {
    Reason.INVALID: 30001,
    Reason.NOT_FRIEND: 30004,
    Reason.BLOCKED: 30004,
    Reason.GROUP_NOT_FOUND: 30005,
    Reason.NOT_MEMBER: 30006,
    Reason.MUTED: 30007,
    Reason.AT_ALL_DENIED: 30008,
    Reason.RATE_LIMITED: 30009,
    Reason.BUSY: 30010,
    Reason.RPC_ERROR: 30011,
    Reason.MSG_ID_CONFLICT: 30012,
}
