"""What is asked of Message services that can neither page what is unread nor look a msgId up."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from skyeim_ws.logic.ports import HistoryMessage, Refused

UNREAD = 0
"""The status of a private message that was not read."""

PAGE = 100

Peers = Callable[[int], Awaitable[Collection[int]]]
"""Returns the friends of a user; raises Refused, Unavailable."""


class Lists(Protocol):
    """The calls that every Message service has; they raise Refused, Unavailable."""

    async def unread(self, user_id: int, peer_id: int = 0) -> list[HistoryMessage]:
        """Return unread private messages to the user, oldest first, perhaps a part of them."""

    async def unread_count(self, user_id: int, peer_id: int = 0) -> int:
        """Return how many there are."""

    async def history(
        self, user_id: int, peer_id: int, last_msg_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        """Return a page of a conversation, newest first, and whether there is more."""


async def all_unread(lists: Lists, peers: Peers, user_id: int) -> list[HistoryMessage]:
    """Return all unread private messages to the user, oldest first.

    A service may tell of a part. The others are found in the conversations with those whom the
    part names, and with the friends, page by page.
    """
    count = await lists.unread_count(user_id)
    found = {message.id: message for message in await lists.unread(user_id)}
    if len(found) < count:
        named = {message.from_user_id for message in found.values()}
        for peer_id in sorted(named | set(await peers(user_id))):
            if len(found) >= count:
                break
            for message in await _unread_of(lists, user_id, peer_id, found):
                found[message.id] = message
    return [found[message_id] for message_id in sorted(found)]


async def _unread_of(
    lists: Lists, user_id: int, peer_id: int, known: Collection[int]
) -> list[HistoryMessage]:
    """Return the unread messages of a conversation that are not known yet."""
    left = await lists.unread_count(user_id, peer_id)
    found: list[HistoryMessage] = []
    last_id, more = 0, left > 0
    while more and left > 0:
        page, more = await lists.history(user_id, peer_id, last_id, PAGE)
        unread = [m for m in page if m.to_user_id == user_id and m.status == UNREAD]
        left -= len(unread)
        found += [message for message in unread if message.id not in known]
        last_id = page[-1].id if page else 0
        more = more and bool(page)
    return found


async def find_senders(
    lists: Lists, peers: Peers, user_id: int, msg_ids: Sequence[str], peer_id: int
) -> dict[str, int]:
    """Return who sent which of these private messages to the user, as far as it can be found.

    They are looked for among the newest of a conversation, if the peer is known, then among what
    is unread: what is older and read, its sender has been told of before.
    """
    wanted = set(msg_ids)
    senders: dict[str, int] = {}

    def note(messages: Sequence[HistoryMessage]) -> bool:
        senders.update(
            (message.msg_id, message.from_user_id)
            for message in messages
            if message.msg_id in wanted and message.to_user_id == user_id
        )
        return senders.keys() == wanted

    try:
        if peer_id:
            newest, more = await lists.history(user_id, peer_id, 0, PAGE)
            if note(newest) or not more:
                return senders
            note(await lists.unread(user_id, peer_id))
        elif not note(await lists.unread(user_id)):
            note(await all_unread(lists, peers, user_id))
    except Refused:
        pass  # there is nothing between them
    return senders
