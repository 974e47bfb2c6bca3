"""The delivery of a message that comes from storage, or from the queue."""

from msgspec.structs import replace

from skyeim_ws.conn.ledger import Delivery, DeliveryState
from skyeim_ws.conn.messages import ChatMessage, encode_data
from skyeim_ws.logic.ports import HistoryMessage
from skyeim_ws.logic.shared_state import QueuedMessage


def queued(entry: QueuedMessage) -> Delivery:
    """Return the delivery of an entry of the queue, which leaves it when that is confirmed."""
    return Delivery(
        data=entry.raw,
        id=entry.id,
        msg_id=entry.msg_id,
        from_user_id=entry.from_user_id,
        state=DeliveryState.QUEUED,
        queue_entry=entry.stored,
    )


def fetched(message: HistoryMessage, live: Delivery | None) -> Delivery:
    """Return the delivery of a stored message.

    That of the live one, if it was held back. If the connection ends, a fetched message need not
    go into the queue: if the client does not have it, it stands there already or is noted as
    missed.
    """
    if live is not None:
        # Whoever routed it before may have queued it.
        state = DeliveryState.QUEUEING if live.state is DeliveryState.LIVE else live.state
        return replace(live, state=state, queue_entry=live.queue_entry or live.data)
    data = _encoded(message)
    return Delivery(
        data=data,
        id=message.id,
        msg_id=message.msg_id,
        from_user_id=message.from_user_id,
        state=DeliveryState.FETCHED,
        queue_entry=data,
    )


def _encoded(message: HistoryMessage) -> bytes:
    return encode_data(
        ChatMessage(
            id=message.id,
            msg_id=message.msg_id,
            from_user_id=message.from_user_id,
            to_user_id=message.to_user_id,
            content=message.content,
            content_type=message.content_type,
            created_at=message.created_at,
        )
    )
