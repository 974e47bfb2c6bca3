"""The AsyncAPI 3 document of the WebSocket: each frame, both ways."""

import re
from collections.abc import Mapping
from typing import Any

from skyeim_ws import __version__
from skyeim_ws.conn import messages as wire
from skyeim_ws.contract.codes import CloseCode
from tools.api.schemas import Schema, of_types

INBOUND: Mapping[str, type[wire.Inbound] | None] = {
    "chat": wire.Chat,
    "group_chat": wire.GroupChat,
    "ack": wire.ClientAck,
    "read": wire.Read,
    "group_read": wire.GroupRead,
    "typing": wire.TypingNotice,
    "presence": wire.PresenceQuery,
    "offline_pull": wire.OfflinePull,
    "token": wire.TokenRenewal,
    "ping": None,
}

_QUERY = {
    "type": "object",
    "properties": {
        "token": {"type": "string", "description": "The access token, a JWT."},
        "device": {"type": "string", "minLength": 1, "maxLength": 64},
        "resume": {
            "type": "integer",
            "minimum": 0,
            "description": "The largest id of a private message that the client has.",
        },
        "confirm": {"const": "ack", "description": "Only the client's own acks confirm."},
        "traceparent": {"type": "string", "description": "The trace of the login (W3C)."},
    },
}

_TRACEPARENT = {"type": "string", "description": "The trace of the frame (W3C), if it has one."}

_ABOUT = (
    "Every frame is a text frame with a JSON object of `type` and `data`. Types and fields that "
    "are not described here may come: ignore them. How a connection lives is in protocol.md."
)


def outbound() -> dict[str, type[wire.Outbound]]:
    """Return the payload of each type that the gateway sends: their docstrings name the types."""
    return {
        name: payload
        for payload in wire.Outbound.__subclasses__()
        for name in re.findall(r"`(\w+)`", (payload.__doc__ or "").partition("\n")[0])
    }


def document() -> dict[str, Any]:
    """Return the document."""
    sent = outbound()
    payloads = [payload for payload in [*INBOUND.values(), *sent.values()] if payload is not None]
    _, schemas = of_types(payloads)
    messages = {f"client.{kind}": _message(kind, payload) for kind, payload in INBOUND.items()}
    messages |= {f"server.{kind}": _message(kind, payload) for kind, payload in sent.items()}
    messages["server.event"] = _event([*sent])
    channel = "#/channels/gateway"
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "SkyeIM gateway", "version": __version__, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:10300", "protocol": "ws"}},
        "channels": {
            "gateway": {
                "address": "/ws",
                "description": f"Close codes: {', '.join(str(int(code)) for code in CloseCode)}.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "query": _QUERY}},
            }
        },
        "operations": {
            side: {
                "action": action,
                "channel": {"$ref": channel},
                "messages": [
                    {"$ref": f"{channel}/messages/{name}"}
                    for name in messages
                    if name.startswith(side)
                ],
            }
            for side, action in (("client", "receive"), ("server", "send"))
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _message(kind: str, payload: type[wire.Inbound] | type[wire.Outbound] | None) -> Schema:
    data: Schema = {"type": "object"}
    about = "Asks for a sign of life."
    if payload is not None:
        [data], _ = of_types([payload])
        about = (payload.__doc__ or "").partition("\n")[0].partition("; `")[0].rstrip(".") + "."
    required = (
        ["type", "data"] if payload is None or issubclass(payload, wire.Outbound) else ["type"]
    )
    envelope = _envelope({"const": kind}, data, required)
    if kind in INBOUND and INBOUND[kind] is payload:
        envelope["properties"]["traceparent"] = _TRACEPARENT
    return {"name": kind, "summary": about, "payload": envelope}


def _event(known: list[str]) -> Schema:
    return {
        "name": "event",
        "summary": "An event of the business services; its data is theirs.",
        "payload": _envelope(
            {"type": "string", "minLength": 1, "not": {"enum": known}},
            {},
            ["type", "data"],
        ),
    }


def _envelope(kind: Schema, data: Schema, required: list[str]) -> Schema:
    return {"type": "object", "required": required, "properties": {"type": kind, "data": data}}
