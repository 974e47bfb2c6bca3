"""What the core wants done, in order; `connection.py` does it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skyeim_ws.client.events import AnyEvent, Sent
from skyeim_ws.client.rules import SkyeError


@dataclass(frozen=True, slots=True)
class GetToken:
    """Get a token, then call `token_is` or `token_failed`."""

    fresh: bool


@dataclass(frozen=True, slots=True)
class Open:
    """Open a connection, then call `frame` and `closed`."""

    query: Mapping[str, str]
    token: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write a frame to the connection."""

    text: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget the connection, without waiting for its end."""


@dataclass(frozen=True, slots=True)
class Sync:
    """Ask for a group's messages above `seq`, then call `synced` or `sync_failed`."""

    group_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Tell who sends a message how it went."""

    msg_id: str
    outcome: Sent | SkyeError


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the application."""

    event: AnyEvent


Effect = GetToken | Open | Write | Drop | Sync | Settle | Emit


def frame(kind: str, data: Mapping[str, Any]) -> Write:
    """Return the writing of a frame; fields that are None are left out."""
    fields = {name: value for name, value in data.items() if value is not None}
    text = json.dumps(
        {"type": kind, "data": fields}, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return Write(text)
