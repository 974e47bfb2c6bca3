"""Messages to be stored, as the Message service takes them and as it answers."""

from collections.abc import Callable
from dataclasses import dataclass

from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.logic.ports import Outgoing, Refused, SendOutcome, Stored
from skyeim_ws.rpc.errors import classify, status_code

Done = Callable[[Outgoing, SendOutcome], None]

_FIXED_BYTES = 256
_BYTES_PER_CHARACTER = 4
_BYTES_PER_MENTION = 10


@dataclass(slots=True, eq=False)
class Item:
    """A message on its way; `deadline` is a time of the loop."""

    message: Outgoing
    done: Done
    deadline: float


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
    return result.code != StatusCode.OK.value[0] or result.msg_id in ("", message.msg_id)


def outcome(message: Outgoing, result: pb.SendResult) -> SendOutcome | None:
    """Return what became of an item of a batch; None if it was denied without a reason."""
    if result.code != StatusCode.OK.value[0]:
        return classify(status_code(result.code), result.reason)
    return Stored(result.id, message.msg_id, result.created_at, result.seq, result.duplicate)


def order_keys(message: Outgoing) -> list[tuple[str, int | str]]:
    """Return the keys within which messages keep their order: the sender, and the group."""
    keys: list[tuple[str, int | str]] = [("sender", message.from_user_id)]
    if message.group_id:
        keys.append(("group", message.group_id))
    return keys
