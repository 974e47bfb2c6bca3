"""What is stored in a group from a seq on: what a doubtful seq is compared with."""

from skyeim_ws.logic.ports import Messages, Refused, Unavailable


async def stored_from(
    messages: Messages, group_id: str, asker_id: int, seq: int
) -> list[tuple[int, int]] | None:
    """Return seq and id of what is stored at this seq and above, ascending; None if unknown.

    Not all, if that is much.
    """
    try:
        found = await messages.group_since(asker_id, group_id, seq - 1)
    except (Refused, Unavailable):
        return None
    return [(message.seq, message.id) for message in found]
