"""How a message to store becomes a request of the Message service, and its answer an outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.spans import Span
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.logic.ports import Refused
from skyeim_ws.rpc.errors import RpcFailed, classify, status_code
from skyeim_ws.rpc.repeats import FAILED, Unclear, Why, settle

Done = Callable[[Outgoing, SendOutcome], None]

_FIXED_BYTES = 256
_BYTES_PER_CHARACTER = 4
_BYTES_PER_MENTION = 10


@dataclass(slots=True, eq=False)
class Item:
    """A message on its way; `deadline` is a monotonic time.

    `newest_id` is the largest id of a stored message that was known when this one was sent.
    """

    message: Outgoing
    done: Done
    deadline: float
    newest_id: int = 0


def time_left(item: Item) -> float:
    """Return how many seconds there are until its deadline."""
    return item.deadline - monotonic()


def request(message: Outgoing) -> pb.SendMessageReq | pb.SendGroupMessageReq | Refused:
    """Return the request that stores a message; Refused if a field does not fit on the wire."""
    try:
        if message.group_id:
            return pb.SendGroupMessageReq(
                msg_id=message.msg_id,
                from_user_id=message.from_user_id,
                group_id=message.group_id,
                content=message.content,
                content_type=message.content_type,
                at_user_ids=message.at_user_ids,
            )
        return pb.SendMessageReq(
            msg_id=message.msg_id,
            from_user_id=message.from_user_id,
            to_user_id=message.to_user_id,
            content=message.content,
            content_type=message.content_type,
        )
    except ValueError:  # a number out of range, or text that is no Unicode
        return Refused(Reason.INVALID)


def batch_item(message: Outgoing) -> pb.SendItem | Refused:
    """Return the same as an item of a batch."""
    found = request(message)
    if isinstance(found, Refused):
        return found
    if isinstance(found, pb.SendGroupMessageReq):
        return pb.SendItem(group=found)
    return pb.SendItem(private=found)


def size_bound(message: Outgoing) -> int:
    """Return a number of bytes that the message does not exceed on the wire."""
    return (
        _FIXED_BYTES
        + _BYTES_PER_CHARACTER * (len(message.content) + len(message.group_id))
        + _BYTES_PER_MENTION * len(message.at_user_ids)
    )


def answers(message: Outgoing, result: pb.SendResult) -> bool:
    """Tell whether the result can be that of the message."""
    return bool(result.code) or result.msg_id in ("", message.msg_id)


def outcome(message: Outgoing, result: pb.SendResult) -> SendOutcome | Unclear:
    """Return what became of an item of a batch."""
    if result.code:  # of OK it is 0
        # A server that knows batches says of a repeat that it is one, so trouble is trouble.
        return _refused(status_code(result.code), result.reason)
    if not result.duplicate:
        return Stored(result.id, message.msg_id, result.created_at, result.seq)
    if not result.HasField("message"):
        return Unclear(Why.REPEATED, result.id)
    return settle(message, result.message)


def failed(failure: RpcFailed) -> SendOutcome | Unclear:
    """Return what became of a message whose own call has failed."""
    if not failure.reason and failure.code in (StatusCode.UNKNOWN, StatusCode.INTERNAL):
        return Unclear(Why.REPEATED) if failure.duplicate else FAILED
    return _refused(failure.code, failure.reason)


def _refused(code: StatusCode, reason: str) -> SendOutcome | Unclear:
    if not reason and code is StatusCode.ALREADY_EXISTS:
        return Unclear(Why.REPEATED)
    return classify(code, reason) or Unclear(Why.DENIED)


def order_keys(message: Outgoing) -> list[tuple[str, int | str]]:
    """Return the keys within which messages keep their order: the sender, and the group."""
    keys: list[tuple[str, int | str]] = [("sender", message.from_user_id)]
    if message.group_id:
        keys.append(("group", message.group_id))
    return keys


def end_span(span: Span, outcome: SendOutcome) -> None:
    """End the span of a message with what became of it."""
    if isinstance(outcome, Stored):
        span.end(id=outcome.id)
    elif isinstance(outcome, Refused):
        span.end(outcome.reason)
    else:
        span.end(Reason.RPC_ERROR)
