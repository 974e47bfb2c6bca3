"""How the `data` of a frame is decoded: strictly, else once more as lenient as clients expect.

Clients were written against a decoder that finds a name whatever its case, and to which null, an
empty text and zero are nothing at all. What is written as documented does not pay for that. Of what
is refused the msgId is read all the same: the answer has to name the message.
"""

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from skyeim_ws.conn.messages import Envelope, Inbound
from skyeim_ws.contract.spans import TRACEPARENT
from skyeim_ws.contract.texts import Phrase, Text

Payload = TypeVar("Payload", bound=Inbound)

_object = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_ENVELOPE = {name: name for name in ("type", "data", TRACEPARENT)}
_NOTHING = (b"null", b'""', b"0")
_FIELD = re.compile(r"at `\$\.([^`]+)`|field `([^`]+)`")
"""Where an error of msgspec names a field of ours; what it says else is not for people."""

_SHOWN = 64
"""Characters of a msgId that an answer repeats, as many as a valid one may have."""

_SEND_TYPE = re.compile(r'"type"\s*+:\s*+"(chat|group_chat)"')
_SEND_MSG_ID = re.compile(r'"msgId"\s*+:\s*+"([A-Za-z0-9_.:-]{1,64})"')


class Decoding(Generic[Payload]):
    """Decodes one type of payload; both ways raise DecodeError or RecursionError."""

    def __init__(self, payload: type[Payload]) -> None:
        fields = msgspec.structs.fields(payload)
        self.strict = msgspec.json.Decoder(payload).decode
        self._names = {field.encode_name.lower(): field.encode_name for field in fields}
        self._optional = {field.encode_name for field in fields if not field.required}

    def lenient(self, data: bytes | msgspec.Raw) -> Payload:
        """Decode what was refused: fields by their names in any case, others not looked at.

        An optional field that is null, "" or 0 is absent.
        """
        found = _exact(_object.decode(data) or {}, self._names)
        kept = {
            name: value
            for name, value in found.items()
            if name not in self._optional or bytes(value) not in _NOTHING
        }
        return self.strict(msgspec.json.encode(kept))

    def decode(self, data: bytes | msgspec.Raw) -> Payload:
        """Decode either way."""
        try:
            return self.strict(data)
        except (msgspec.DecodeError, RecursionError):
            return self.lenient(data)


class EnvelopeDecoding:
    """Decodes the envelope of a frame, likewise."""

    def __init__(self) -> None:
        self.strict = msgspec.json.Decoder(Envelope).decode

    def lenient(self, text: str) -> Envelope:
        """Decode what was refused."""
        found = _exact(_object.decode(text) or {}, _ENVELOPE)
        if not bytes(found.get(TRACEPARENT, b"")).startswith(b'"'):
            found.pop(TRACEPARENT, None)  # whatever it is, the frame is not refused for it
        return self.strict(msgspec.json.encode(found))


def fault(error: Exception) -> Phrase:
    """Return what was wrong with a payload: which field, if the error names one."""
    named = _FIELD.search(str(error))
    return Text.FIELD(name=named[1] or named[2]) if named else Text.INVALID()


def salvage_send(text: str) -> tuple[str, str | None]:
    """Return type and msgId of a message that is no JSON; "" and None if they cannot be read.

    A program that has cut a text in the middle of an emoji writes half a character. It must be told
    which message that was, or it sends it again for ever.
    """
    kind, msg_id = _SEND_TYPE.search(text), _SEND_MSG_ID.search(text)
    return (kind[1], msg_id[1]) if kind and msg_id else ("", None)


def salvage_msg_id(data: msgspec.Raw) -> str | None:
    """Return the msgId of a payload that failed validation, as the client wrote it, cut.

    It need not be valid: a client matches the answer by it all the same. None if it is no text.
    """
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    named = [name for name in value if name.lower() == "msgid"]
    msg_id = value.get("msgId", value[named[0]] if named else None)
    return msg_id[:_SHOWN] if isinstance(msg_id, str) and msg_id else None


def _exact(found: Mapping[str, msgspec.Raw], names: Mapping[str, str]) -> dict[str, msgspec.Raw]:
    """Return the fields under their exact names; one that was named exactly comes first."""
    exact = {name: found[name] for name in names.values() if name in found}
    for name, value in found.items():
        known = names.get(name.lower())
        if known is not None:
            exact.setdefault(known, value)
    return exact
