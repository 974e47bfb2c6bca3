"""Holds what passes between tests and gateways against the documents of the wire.

The documents say less than the gateway keeps to: clients ignore fields that they do not know, but a
field that stands in no document is a fault of one of the two.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from string import Formatter
from typing import Any

import fastjsonschema
import msgspec

from skyeim_ws.conn.decoding import Decoding
from skyeim_ws.conn.messages import Inbound
from skyeim_ws.contract.texts import Text
from tools.api import frames, http

Schema = dict[str, Any]
Check = Callable[[Any], Any]

FRAMES = frames.document()
CALLS = http.document()


class UndocumentedError(AssertionError):
    """Something has passed that no document has, or not like this."""


def check_received(frame: Mapping[str, Any]) -> None:
    """Check a frame of a gateway."""
    if frame.get("type") == "chat" and "status" in frame["data"]:
        # An entry that the Go gateway has left in an offline queue is passed on as it stands.
        data = {name: value for name, value in frame["data"].items() if name != "status"}
        frame = {**frame, "data": data}
    name = f"server.{frame.get('type')}"
    if frame.get("type") == "error":
        check_text(frame["data"].get("message", ""))
    _check(_frame(name if name in FRAMES["components"]["messages"] else "server.event"), frame)


def check_sent(kind: str, data: Mapping[str, Any]) -> None:
    """Check that a gateway takes of a client what the document allows, and little else.

    Whatever the tests send: what is refused must be against the document too.
    """
    payload = frames.INBOUND.get(kind)
    if payload is None:
        return
    raw = json.dumps(data).encode()
    allowed = _allows(_frame(f"client.{kind}", closed=False), {"type": kind, "data": data})
    if allowed and not _takes(_decoding(payload).decode, raw):
        raise UndocumentedError(f"the document of {kind} allows {data}, and the gateway does not")
    if not allowed and _takes(_decoding(payload).strict, raw):
        given = {name: value for name, value in data.items() if value is not None}
        named = kind != "ack" or given.keys() & {"msgId", "msgIds"}
        if named and not _allows(
            _frame(f"client.{kind}", closed=False), {"type": kind, "data": given}
        ):
            raise UndocumentedError(f"the gateway takes {kind} {data}, and the document does not")


def check_own(frame: Mapping[str, Any]) -> None:
    """Check a frame of a client of ours, which sends nothing that no document has."""
    if frame.get("type") not in frames.INBOUND:
        raise UndocumentedError(f"clients send no {frame}")
    _check(_frame(f"client.{frame['type']}"), frame)


def check_answer(method: str, path: str, status: int, body: bytes) -> None:
    """Check an answer to an HTTP call; those to paths that are in no document are left out."""
    plain = path.partition("?")[0].removeprefix(http.PREFIX)
    operation = CALLS["paths"].get(plain, {}).get(method.lower())
    if operation is not None and status != 304:
        if status >= 400 and plain != "/health":
            check_text(json.loads(body)["message"])
        _check(_answer(plain, method.lower(), str(status)), json.loads(body))


def check_posted(body: bytes) -> None:
    """Check what a push service is told."""
    _check(_posted(), json.loads(body))


@cache
def _decoding(payload: type[Inbound]) -> Decoding[Inbound]:
    return Decoding(payload)


@cache
def _posted() -> Check:
    content = CALLS["webhooks"]["away"]["post"]["requestBody"]["content"]
    return _compiled(content["application/json"]["schema"], CALLS, closed=True)


def check_text(message: str) -> None:
    """Check that what a person is told is a text of the table, and nothing that a library says."""
    if not _texts().fullmatch(message):
        raise UndocumentedError(f"no text of the table: {message}")


@cache
def _texts() -> re.Pattern[str]:
    gaps = {"name": r"[\w\[\]. -]+", "kind": ".+"}
    return re.compile(
        "|".join(
            "".join(
                re.escape(said) + ("" if gap is None else gaps.get(gap, r"\d+"))
                for said, gap, _, _ in Formatter().parse(written)
            )
            for text in Text
            for written in text.value
        ),
        re.DOTALL,
    )


@cache
def _frame(name: str, *, closed: bool = True) -> Check:
    message = FRAMES["components"]["messages"][name]
    return _compiled(message["payload"], FRAMES, closed=closed)


@cache
def _answer(path: str, method: str, status: str) -> Check:
    responses = CALLS["paths"][path][method]["responses"]
    response = responses.get(status, responses["default"])
    if (reference := response.get("$ref")) is not None:
        response = CALLS["components"]["responses"][reference.rpartition("/")[2]]
    schema = response["content"]["application/json"]["schema"]
    return _compiled(schema, CALLS, closed=True)


def _compiled(schema: Schema, document: Schema, *, closed: bool) -> Check:
    whole = {**schema, "components": {"schemas": document["components"]["schemas"]}}
    check: Check = fastjsonschema.compile(_closed(whole) if closed else whole)
    return check


def _closed(schema: Any) -> Any:
    """Return a schema whose objects have no fields beyond those that are named."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items()}
    return found | {"additionalProperties": False} if "properties" in found else found


def _check(check: Check, value: Any) -> None:
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException as error:
        raise UndocumentedError(f"{error.message}: {value}") from error


def _allows(check: Check, value: Any) -> bool:
    try:
        check(value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def _takes(decode: Callable[[bytes], Any], data: bytes) -> bool:
    try:
        decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
