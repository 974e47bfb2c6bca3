"""What differs between two configurations, and which of it a running gateway takes."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from skyeim_ws.config.loader import go_name

LIVE = frozenset(
    {"MaxConns", "TrustedProxies", "Auth.AccessSecret", "Auth.PrevSecret", "PushEvent.Secret"}
    | {"Log.Level", "WebSocket.Origins", "WebSocket.MaxMessageSize", "WebSocket.SendQueueSize"}
    | {"WebSocket.LedgerSize", "WebSocket.RateLimit", "WebSocket.RateBurst"}
    | {"WebSocket.MaxHandshakes", "WebSocket.MaxConnsPerIp", "WebSocket.LoginBurst"}
    | {"WebSocket.LoginInterval", "WebSocket.CallRate", "WebSocket.CallBurst"}
    | {"Trace.Sampler", "Trace.Users"}
)
"""The keys that a reload takes; all others need a restart."""

S = TypeVar("S")


def differences(old: object, new: object, prefix: str = "") -> list[str]:
    """Return the dotted names of the keys whose values differ between two sections of one kind."""
    found = []
    for name, full in _keys(old, prefix):
        before, after = getattr(old, name), getattr(new, name)
        if is_dataclass(before) and type(before) is type(after):
            found += differences(before, after, f"{full}.")
        elif before != after:
            found.append(full)
    return found


def with_live(old: S, new: S, prefix: str = "") -> S:
    """Return the old section with those values of the new one that a running gateway takes."""
    taken: dict[str, Any] = {}
    for name, full in _keys(old, prefix):
        before, after = getattr(old, name), getattr(new, name)
        if full in LIVE:
            taken[name] = after
        elif is_dataclass(before) and type(before) is type(after):
            taken[name] = with_live(before, after, f"{full}.")
    return replace(old, **taken)  # type: ignore[type-var]  # a section is a dataclass


def _keys(section: Any, prefix: str) -> list[tuple[str, str]]:
    """Return the name of each field that is a key of the file, and that of the key."""
    named = (
        (field.name, field.metadata.get("key", go_name(field.name))) for field in fields(section)
    )
    return [(name, prefix + key) for name, key in named if key is not None]
