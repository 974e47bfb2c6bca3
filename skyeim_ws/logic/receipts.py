"""What a client says of the messages it has: acknowledged, read, read in a group."""

from collections.abc import Sequence

from msgspec import UNSET

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import ClientAck, GroupRead, Read, ReadReceipt, frame, now_seconds
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Text
from skyeim_ws.logic.acks import Acks
from skyeim_ws.logic.answers import refuse
from skyeim_ws.logic.arrivals import Arrivals
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.ports import Groups, Messages, Refused, Unavailable
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.user_router import UserRouter


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
        arrivals: Arrivals,
        requests: Requests,
    ) -> None:
        self._acks = acks
        self._catch_up = catch_up
        self._arrivals = arrivals
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

    async def read_elsewhere(self, user_id: int, peer_id: int, msg_ids: Sequence[str]) -> int:
        """Mark messages as read that the user has not read on a connection; return how many.

        All that there are, if none is named: as `read` does, when what is on its way to the user
        has come. Raises Refused, Unavailable.
        """
        if not msg_ids:
            await self._arrivals.complete(user_id)
        return await self.mark_read(user_id, peer_id, msg_ids)

    async def mark_read(self, user_id: int, peer_id: int, msg_ids: Sequence[str]) -> int:
        """Mark messages as read, all if none is named; return how many, and tell the peer.

        The peer is told of its own messages alone, whatever else is named.
        """
        own: list[str] = []
        if msg_ids:
            senders = await self._messages.senders(user_id, msg_ids, peer_id)
            own = [msg_id for msg_id in dict.fromkeys(msg_ids) if senders.get(msg_id) == peer_id]
        count = await self._messages.mark_read(user_id, peer_id, msg_ids)
        if msg_ids and not own:
            return count
        # Friends hear it also when nothing was left: the first notice may have been lost. Strangers
        # of whom there is nothing to read are not to be bothered.
        if count or await self._are_friends(user_id, peer_id):
            receipt = ReadReceipt(user_id=user_id, timestamp=now_seconds(), msg_ids=own or UNSET)
            self._user_router.send(peer_id, frame("read", receipt))
        return count

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
        others = [msg_id for msg_id in msg_ids if msg_id not in senders]
        if others:
            # A pong has confirmed them already, so the connection does not know them any more.
            senders |= await self._messages.senders(client.user_id, others)
        by_sender: dict[int, list[str]] = {}
        for msg_id in dict.fromkeys(msg_ids):
            if msg_id in senders:
                by_sender.setdefault(senders[msg_id], []).append(msg_id)
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
