"""What the trace of a group message says: how many got it here, and how it is with chosen users."""

from skyeim_ws.conn.hub import Hub
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.contract.message_trace import MessageTrace, msg_id_of


def handed_out(
    trace: MessageTrace, hub: Hub, group_id: str, members: frozenset[int], item: GroupFrame
) -> None:
    """Note a fan-out: one line for all members who are here, and one for each chosen user."""
    msg_id = msg_id_of(item.frame)
    receivers = members - {item.sender_id}
    if trace.chooses(msg_id, item.sender_id, 0):
        here = len(receivers & hub.users)
        trace.write("fanned_out", msg_id, 0, group=group_id, seq=item.seq, here=here)
    for user_id in trace.users & receivers:
        client = hub.get(user_id)
        if client is not None:
            # A slow client gets the hint `group_behind` in place of the message.
            step = "folded" if client.outbox.behind or client.outbox.crowded else "written"
            trace.write(
                step,
                msg_id,
                user_id,
                group=group_id,
                conn=client.conn_id,
                behind=len(client.outbox),
            )


def dropped(trace: MessageTrace, step: str, group_id: str, item: GroupFrame) -> None:
    """Note why the members who are here do not get a message; they fetch it by `seq`."""
    if item.seq:
        trace.note(step, msg_id_of(item.frame), item.sender_id, group=group_id, seq=item.seq)
