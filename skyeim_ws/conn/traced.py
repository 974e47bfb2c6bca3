"""What the trace of a private message says of its receiver's connection."""

from skyeim_ws.conn.fields import ClientFields
from skyeim_ws.conn.ledger import Delivery


def written(client: ClientFields, delivery: Delivery) -> None:
    """Note that a message stands in the write queue, behind so many other frames.

    `source` says whence it came: live, or from the queue or the Message service.
    """
    client.stats.trace.note(
        "written",
        delivery.msg_id,
        client.user_id,
        delivery.from_user_id,
        conn=client.conn_id,
        source=delivery.state.name.lower(),
        behind=len(client.outbox),
    )
