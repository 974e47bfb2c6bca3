"""The OpenAPI 3.1 document of the HTTP calls."""

from dataclasses import dataclass
from typing import Any

import msgspec

from skyeim_ws import __version__
from skyeim_ws.conn import messages as wire
from skyeim_ws.handler import archive_handler as archive
from skyeim_ws.handler import contact_handler as contacts
from skyeim_ws.handler import message_handler as history
from skyeim_ws.handler.numbers import MAX_INT64
from skyeim_ws.handler.push_event_handler import (
    SECRET_HEADER,
    GroupEvent,
    LegacyGroupEvent,
    UserEvent,
)
from skyeim_ws.logic.archive import Conversation
from skyeim_ws.logic.contacts import Friend, Group, Member
from skyeim_ws.logic.ports import HistoryMessage
from skyeim_ws.store.notices import TOGETHER, Message
from tools.api.schemas import ERRORS, Schema, of_types

PREFIX = "/api/v1"
"""Each path of users also answers under this."""

BAD, DENIED, FOREIGN, MISSING, OFTEN, AWAY = "400", "401", "403", "404", "429", "503"


def number(low: int, default: int | None = None) -> Schema:
    """Return the schema of a number in a query; those above a `limit` are lowered to it."""
    found: Schema = {"type": "integer", "minimum": low, "maximum": MAX_INT64}
    return found if default is None else found | {"default": default}


def limited(default: int, most: int) -> Schema:
    """Return the schema of a `limit`."""
    more = {"description": f"More than {most} is lowered to that."}
    return number(1, default) | more


ID = {"type": "string", "minLength": 1, "maxLength": 64}
PAGES = {"page": number(1, 1), "pageSize": limited(contacts.DEFAULT_SIZE, contacts.MAX_SIZE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of users; `answer` are the fields of its `data`, `query` its arguments.

    `needed` of the arguments must be there. `body` is what a POST brings.
    """

    about: str
    answer: dict[str, Any]
    query: dict[str, Schema] | None = None
    needed: tuple[str, ...] = ()
    body: type[wire.Inbound] | None = None


MESSAGES = {"list": list[HistoryMessage]}
PAGE = MESSAGES | {"hasMore": bool}

CALLS = {
    "/message/offline": Call(
        about="All unread private messages, oldest first.",
        query={
            "skip": number(0, 0),
            "limit": limited(history.DEFAULT_OFFLINE, history.MAX_OFFLINE),
        },
        answer=MESSAGES | {"total": int, "hasMore": bool},
    ),
    "/message/history": Call(
        about="A private conversation, newest first.",
        query={
            "peerId": number(1),
            "lastMsgId": number(0, 0),
            "limit": limited(history.DEFAULT_PAGE, history.MAX_PAGE),
        },
        needed=("peerId",),
        answer=PAGE,
    ),
    "/message/group/history": Call(
        about="The messages of a group, newest first, for its members.",
        query={
            "groupId": ID,
            "lastMsgId": number(0, 0),
            "limit": limited(history.DEFAULT_PAGE, history.MAX_PAGE),
        },
        needed=("groupId",),
        answer=PAGE,
    ),
    "/message/group/sync": Call(
        about="The messages of a group above a seq, ascending, for its members.",
        query={
            "groupId": ID,
            "seq": number(0, 0),
            "limit": limited(history.MAX_SYNC, history.MAX_SYNC),
        },
        needed=("groupId",),
        answer=PAGE,
    ),
    "/message/search": Call(
        about="The user's messages that have the keyword, newest first, at most 100.",
        query={"keyword": ID | {"maxLength": archive.MAX_KEYWORD}},
        needed=("keyword",),
        answer=MESSAGES,
    ),
    "/message/at-me": Call(
        about="Messages that mention the user or everyone, of a group or of all, newest first.",
        query={
            "groupId": ID,
            "lastMsgId": number(0, 0),
            "limit": limited(archive.DEFAULT_PAGE, archive.MAX_PAGE),
        },
        answer=PAGE,
    ),
    "/message/conversations": Call(
        about="With whom and where the user chats, newest first.",
        query={
            "before": number(0, 0),
            "limit": limited(archive.DEFAULT_PAGE, archive.MAX_PAGE),
        },
        answer={"list": list[Conversation], "hasMore": bool},
    ),
    "/message/unread/count": Call(
        about="How many private messages are unread, of a peer or of all.",
        query={"peerId": number(0, 0)},
        answer={"count": int},
    ),
    "/message/read": Call(
        about="Marks private messages as read, all of the peer if none is named.",
        body=wire.Read,
        answer={"count": int},
    ),
    "/message/group/read": Call(
        about="Moves the read mark of a group.",
        body=wire.GroupRead,
        answer={"success": bool},
    ),
    "/friend/list": Call(
        about="The user's friends.", query=PAGES, answer={"list": list[Friend], "total": int}
    ),
    "/group/list": Call(
        about="The groups that the user is in.",
        query=PAGES,
        answer={"list": list[Group], "total": int},
    ),
    "/group/member/list": Call(
        about="The members of a group, for one of them.",
        query={"groupId": ID, **PAGES},
        needed=("groupId",),
        answer={"list": list[Member], "total": int},
    ),
}


def readable(pushed: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return a type of a push with any JSON where the gateway does not look into it."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(pushed):
        if field.type is msgspec.Raw:
            fields.append((field.name, Any, msgspec.field(default_factory=dict)))
        elif field.required:
            fields.append((field.name, field.type))
        else:
            default = msgspec.field(default_factory=field.default_factory)
            fields.append((field.name, field.type, default))
    return msgspec.defstruct(
        pushed.__name__,
        fields,
        tag=pushed.__struct_config__.tag,
        rename="camel",
        namespace={"__doc__": pushed.__doc__},
    )


PUSHES: dict[str, tuple[str, Any]] = {
    "/api/push": (
        "An event of the services, for a user or a group.",
        readable(UserEvent) | readable(GroupEvent),
    ),
    "/api/push/event": ("The older form, for groups alone.", readable(LegacyGroupEvent)),
}

_FAILURES = {
    BAD: "A field is missing, out of range or of the wrong type.",
    DENIED: "No token that is valid.",
    FOREIGN: "The user may not see this.",
    MISSING: "There is no such group.",
    OFTEN: "Too many calls; come again after `retry_after_ms`.",
    AWAY: "A business service is away; try again.",
}


def document() -> dict[str, Any]:
    """Return the document."""
    answers = [kind for call in CALLS.values() for kind in call.answer.values()]
    bodies = [call.body for call in CALLS.values() if call.body is not None]
    pushed = [body for _, body in PUSHES.values()]
    _, components = of_types([*answers, *bodies, *pushed, Message])
    components["Notice"] = _notice()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SkyeIM gateway",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": f"Every path of users also answers under `{PREFIX}`.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            **{path: _call(call) for path, call in CALLS.items()},
            **{path: _push(*push) for path, push in PUSHES.items()},
            "/health": _health(),
        },
        "webhooks": {"away": {"post": _notices()}},
        "components": {
            "schemas": components | {"Failure": _failure()},
            "responses": {
                **{f"F{code}": _failed(about) for code, about in _FAILURES.items()},
                "Else": _failed("Another failure, such as 405, 413 or 500."),
            },
            "securitySchemes": {
                "header": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
                "services": {"type": "apiKey", "in": "header", "name": SECRET_HEADER},
            },
        },
    }


def _call(call: Call) -> Schema:
    data = {name: of_types([kind])[0][0] for name, kind in call.answer.items()}
    operation: Schema = {
        "summary": call.about,
        "security": [{"header": []}, {"query": []}],
        "responses": {
            "200": _json(
                "The answer.",
                _object(code={"const": 200}, message={"type": "string"}, data=_object(**data)),
            ),
            **{code: {"$ref": f"#/components/responses/F{code}"} for code in _FAILURES},
            "default": {"$ref": "#/components/responses/Else"},
        },
    }
    if call.query is not None:
        operation["parameters"] = [
            {"name": name, "in": "query", "required": name in call.needed, "schema": schema}
            for name, schema in call.query.items()
        ]
    if call.body is not None:
        [schema], _ = of_types([call.body])
        operation["requestBody"] = {"required": True, **_content(schema)}
        return {"post": operation}
    return {"get": operation}


def _push(about: str, body: Any) -> Schema:
    [schema], _ = of_types([body])
    done = _object(code={"const": 0}, message={"type": "string"})
    return {
        "post": {
            "summary": about,
            "security": [{"services": []}],
            "requestBody": {"required": True, **_content(schema)},
            "responses": {
                "200": _json("It was passed on.", done),
                **{
                    code: {"$ref": f"#/components/responses/F{code}"}
                    for code in (BAD, DENIED, AWAY)
                },
                "default": {"$ref": "#/components/responses/Else"},
            },
        }
    }


def _health() -> Schema:
    text = {"type": "string"}
    state = _object(
        status={"enum": ["ok", "degraded", "failed"]},
        online={"type": "integer", "minimum": 0},
        version=text,
        commit=text,
    )
    state["properties"]["reasons"] = {"type": "array", "items": text}
    return {
        "get": {
            "summary": "Whether this node serves.",
            "security": [],
            "responses": {
                "200": _json("It serves.", state),
                AWAY: _json("It has failed.", state),
                "default": {"$ref": "#/components/responses/Else"},
            },
        }
    }


def _notices() -> Schema:
    notices = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Notice"}}
    headers = {"X-Skyeim-Timestamp": r"^\d+$", "X-Skyeim-Signature": "^v1=[0-9a-f]{64}$"}
    return {
        "summary": "Tells a push service of messages for users who are away; see webhook.md.",
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "schema": {"type": "string", "pattern": pattern},
            }
            for name, pattern in headers.items()
        ],
        "requestBody": {"required": True, **_content(_object(notices=notices))},
        "responses": {"2XX": {"description": "The notices are done."}},
    }


def _notice() -> Schema:
    """Return what is told of one user, or of a message of a group to some."""
    user: Schema = {"type": "integer", "format": "int64"}
    users = {"type": "array", "items": user, "minItems": 1, "maxItems": TOGETHER}
    message = {"$ref": "#/components/schemas/Message"}
    kinds: list[Schema] = [
        {"userId": user, "kind": {"const": "private"}, "message": message},
        {"userIds": users, "kind": {"const": "group"}, "message": message},
        {"userId": user, "kind": {"const": "missed"}},
    ]
    return {"oneOf": [_object(id={"type": "string"}, **kind) for kind in kinds]}


def _failure() -> Schema:
    codes = [400, 401, 403, 404, 405, 413, 500, 503, *ERRORS]
    found = _object(code={"enum": codes}, message={"type": "string"})
    found["properties"]["retry_after_ms"] = {"type": "integer", "minimum": 0}
    return found


def _failed(about: str) -> Schema:
    return _json(about, {"$ref": "#/components/schemas/Failure"})


def _json(about: str, schema: Schema) -> Schema:
    return {"description": about, **_content(schema)}


def _content(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": [*properties], "properties": properties}
