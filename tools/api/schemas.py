"""JSON schemas of our message types, as documents show them."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from skyeim_ws.contract.codes import ERROR_CODES, UNKNOWN_TYPE, Reason

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"

ERRORS = sorted({*ERROR_CODES.values(), UNKNOWN_TYPE})

_ONE_OF: Mapping[tuple[str, str], list[Any]] = {
    ("Ack", "status"): ["sent", "delivered", "read", "failed"],
    ("Ack", "reason"): [str(reason) for reason in Reason],
    ("Error", "code"): ERRORS,
    ("OfflineSummary", "messageType"): ["private"],
    ("HistoryMessage", "chatType"): [1, 2],
    ("HistoryMessage", "status"): [0, 1, 2],
    ("Friend", "status"): [1, 2],
    ("Group", "status"): [1, 2],
    ("Member", "role"): [1, 2, 3],
}
"""What the types leave open, since nothing of ours has to check it."""

_ANY_OF: Mapping[str, Schema] = {
    "ClientAck": {"anyOf": [{"required": ["msgId"]}, {"required": ["msgIds"]}]},
    "TypingNotice": {"oneOf": [{"required": ["toUserId"]}, {"required": ["groupId"]}]},
}

INT32 = 2**31 - 1


def of_types(types: Iterable[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return a schema for each type, and the components that they refer to."""
    shown, components = msgspec.json.schema_components(types, ref_template=REF)
    named = {name: _named(name, schema) for name, schema in components.items()}
    return [_plain(schema) for schema in shown], named


def _named(name: str, schema: Schema) -> Schema:
    plain: Schema = _plain(schema)
    about = plain["description"].partition("\n")[0]
    plain["description"] = about.partition("; `")[0].rstrip(".") + "."
    if name in _ANY_OF:
        plain |= _ANY_OF[name]
    for field, values in _ONE_OF.items():
        if field[0] == name:
            plain["properties"][field[1]] = {"enum": values}
    return plain


def _plain(schema: Any) -> Any:
    """Return what a schema says to others.

    Names of ours are left out. Fields that a reader does not know are no error, either way. What is
    optional is absent: that the gateway takes null for it is for old clients.
    """
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(either := schema.get("anyOf"), list) and {"type": "null"} in either:
        [schema] = [each for each in either if each != {"type": "null"}]
    left_out = {"title"} if isinstance(schema.get("title"), str) else set()
    if schema.get("additionalProperties") is False:
        left_out.add("additionalProperties")
    found = {key: _plain(value) for key, value in schema.items() if key not in left_out}
    if found.get("type") == "integer" and not 0 <= found.get("maximum", INT32 + 1) <= INT32:
        found["format"] = "int64"
    if isinstance(found.get("pattern"), str):
        # Of Python; in other languages the ends of a text are these.
        found["pattern"] = found["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    return found
