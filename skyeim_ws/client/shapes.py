"""What a frame must have before anything is done with it: no server is believed blindly."""

import math
from collections.abc import Callable, Mapping


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _or_absent(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_MESSAGE = {"id": _is_count, "msgId": _is_text, "fromUserId": _is_count, "content": _is_text}

_SHAPES: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "connected": {"userId": _is_count},
    "chat": _MESSAGE,
    "group_chat": _MESSAGE | {"groupId": _is_text, "seq": _is_count},
    "group_behind": {"groupId": _is_text, "seq": _is_count},
    "offline_messages": {"pushCount": _is_count, "hasMore": lambda value: isinstance(value, bool)},
    "ack": {
        "msgId": _is_text,
        "status": _is_text,
        "id": _or_absent(_is_count),
        "seq": _or_absent(_is_count),
    },
    "read": {"userId": _is_count},
    "token": {"expiresAt": _is_time},
    "typing": {"fromUserId": _is_count},
    "presence": {"online": lambda value: isinstance(value, list)},
    "online": {"userId": _is_count},
    "offline": {"userId": _is_count},
}


def is_whole(kind: object, data: object) -> bool:
    """Whether `data` has what a frame of this type must have; any other type may have anything."""
    if not isinstance(kind, str) or not isinstance(data, dict):
        return False
    return all(check(data.get(name)) for name, check in _SHAPES.get(kind, {}).items())
