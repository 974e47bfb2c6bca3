"""What a client says of the messages it has: acknowledged, read, read in a group."""

from collections.abc import Sequence

from msgspec import UNSET

from skyeim_ws.conn.client import Client, State
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import ClientAck, GroupRead, Read, ReadReceipt, frame, now_seconds
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Text
from skyeim_ws.logic.acks import Acks
from skyeim_ws.logic.answers import refuse
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.ports import Groups, HistoryMessage, Messages, Refused, Unavailable
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.user_router import UserRouter

_LOOKED_THROUGH = 100
"""The newest messages of two users among which those are looked for that one has read."""


class Receipts:
    """Handles `ack`, `read` and `group_read`."""

    def __init__(
        self,
        *,
        user_router: UserRouter,
        acks: Acks,
        messages: Messages,
        groups: Groups,
        friends: FriendCache,
        catch_up: CatchUp,
        requests: Requests,
    ) -> None:
        self._acks = acks
        self._catch_up = catch_up
        self._user_router = user_router
        self._messages = messages
        self._groups = groups
        self._friends = friends
        self._requests = requests

    def ack(self, client: Client, data: ClientAck) -> None:
        """Confirm messages; `read` also marks them and tells their senders."""
        msg_ids = data.msg_ids or []
        if data.msg_id is not None:
            msg_ids.append(data.msg_id)
        if not msg_ids:
            refuse(client, "ack", Reason.INVALID, Text.NO_MSG_ID())
            return
        confirmed = client.confirm(msg_ids)
        if data.status == "read":
            self._requests.run(client, "ack", self._read_named(client, msg_ids, confirmed))

    def read(self, client: Client, data: Read) -> None:
        """Mark messages from the peer as read and tell the peer."""
        self._requests.run(client, "read", self._read(client, data))

    def group_read(self, client: Client, data: GroupRead) -> None:
        """Move the read mark of the group."""
        work = self.mark_group_read(client.user_id, data.group_id, data.read_seq)
        self._requests.run(client, "group_read", work)

    async def mark_read(self, user_id: int, peer_id: int, msg_ids: Sequence[str]) -> int:
        """Mark messages as read, all if none is named; return how many, and tell the peer.

        The peer is told of its own messages alone, whatever else is named.
        """
        own = await self._sent_by(peer_id, user_id, msg_ids) if msg_ids else []
        count = await self._messages.mark_read(user_id, peer_id, msg_ids)
        if msg_ids and not own:
            return count
        # Friends hear it also when nothing was left: the first notice may have been lost. Strangers
        # of whom there is nothing to read are not to be bothered.
        if count or await self._are_friends(user_id, peer_id):
            receipt = ReadReceipt(user_id=user_id, timestamp=now_seconds(), msg_ids=own or UNSET)
            self._user_router.send(peer_id, frame("read", receipt))
        return count

    async def _sent_by(self, peer_id: int, user_id: int, msg_ids: Sequence[str]) -> list[str]:
        """Return those that are messages from the peer to the user, in their order.

        They are looked for among the newest of both, and among what is unread. What is older the
        peer has been told of before.
        """
        left = dict.fromkeys(msg_ids)
        found: set[str] = set()

        def note(messages: Sequence[HistoryMessage]) -> bool:
            found.update(
                message.msg_id
                for message in messages
                if (message.from_user_id, message.to_user_id) == (peer_id, user_id)
            )
            return left.keys() <= found

        try:
            newest, more = await self._messages.history(user_id, peer_id, 0, _LOOKED_THROUGH)
            if not note(newest) and more:
                note(await self._messages.unread(user_id, peer_id))
        except Refused:
            pass  # there is nothing between them
        return [msg_id for msg_id in left if msg_id in found]

    async def _are_friends(self, user_id: int, peer_id: int) -> bool:
        try:
            if peer_id not in await self._friends.friends(user_id):
                return False
            return user_id in await self._friends.friends(peer_id)  # who may have blocked the user
        except (Refused, Unavailable):
            return False

    async def mark_group_read(self, user_id: int, group_id: str, seq: int) -> None:
        """Move the user's read mark of the group."""
        await self._groups.update_read_seq(user_id, group_id, seq)

    async def _read_named(
        self, client: Client, msg_ids: Sequence[str], confirmed: Sequence[Delivery]
    ) -> None:
        senders = {delivery.msg_id: delivery.from_user_id for delivery in confirmed}
        others = set(msg_ids) - senders.keys()
        if others:
            # A pong has confirmed them already, so the connection does not know them any more.
            unread = await self._messages.unread(client.user_id)
            senders |= {m.msg_id: m.from_user_id for m in unread if m.msg_id in others}
        by_sender: dict[int, list[str]] = {}
        for msg_id, sender_id in senders.items():
            by_sender.setdefault(sender_id, []).append(msg_id)
        for sender_id, read in by_sender.items():
            if await self._messages.mark_read(client.user_id, sender_id, read):
                self._acks.tell(sender_id, read, "read")

    async def _read(self, client: Client, data: Read) -> None:
        if not data.msg_ids:
            # All that there is, and so what is still on its way to the client: it is found again
            # by being unread, should the connection end first.
            await self._catch_up.ended(client)
            if client.state is not State.OPEN:
                return
        await self.mark_read(client.user_id, data.peer_id, data.msg_ids or ())
