"""The frames that tell a client what became of its request."""

from msgspec import UNSET

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.messages import Ack, error_frame, frame, new_msg_id, now_seconds
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Language, Phrase
from skyeim_ws.logic.outgoing import Stored

SENDS = frozenset({"chat", "group_chat"})
"""The types whose failure is told by an `ack` before the `error`."""


def sent_frame(stored: Stored) -> bytes:
    """Return the `ack` of a stored message; `seq` for groups only."""
    return frame(
        "ack",
        Ack(
            msg_id=stored.msg_id,
            status="sent",
            timestamp=now_seconds(),
            id=stored.id,
            seq=stored.seq or UNSET,
        ),
    )


def status_frame(msg_id: str, status: str) -> bytes:
    """Return the `ack` that tells a sender how far a message has come."""
    return frame("ack", Ack(msg_id=msg_id, status=status, timestamp=now_seconds()))


def failed_frame(
    msg_id: str, reason: Reason, language: Language, phrase: Phrase | None = None
) -> bytes:
    """Return the `ack` of a failed send and the `error` that follows it, as one piece."""
    ack = Ack(msg_id=msg_id, status="failed", reason=reason, timestamp=now_seconds())
    return frame("ack", ack) + error_frame(reason, language, phrase, msg_id)


def refuse(
    client: Client,
    kind: str,
    reason: Reason,
    phrase: Phrase | None = None,
    msg_id: str | None = None,
) -> None:
    """Answer a request that cannot be served; the connection lives."""
    client.context.stats.refusals[reason] += 1
    trace = client.context.stats.trace
    if msg_id and trace.on:
        trace.note("refused", msg_id, client.user_id, reason=reason, by="gateway")
    if kind in SENDS:
        client.send(failed_frame(msg_id or new_msg_id(), reason, client.language, phrase))
    else:
        client.send(error_frame(reason, client.language, phrase, msg_id))
