"""The largest seq that is stored in a group: what a doubtful seq is compared with."""

from skyeim_ws.logic.ports import Messages, Refused, Unavailable

_PAGE = 20


async def newest_seq(messages: Messages, group_id: str, asker_id: int) -> int | None:
    """Return the seq of the newest message of a group, as a member sees it; None if unknown."""
    try:
        newest, _ = await messages.group_history(asker_id, group_id, 0, _PAGE)
    except (Refused, Unavailable):
        return None
    # The newest by its id: a counter that was set back has given smaller numbers since.
    return max(newest, key=lambda message: message.id).seq if newest else 0
