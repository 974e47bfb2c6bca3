"""Who is typing: forwarded to friends and members only, and the first thing to be dropped."""

from msgspec import UNSET

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.messages import Typing, TypingNotice, frame
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.ports import Members
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.user_router import UserRouter


class TypingNotices:
    """Handles `typing`.

    Anybody may send it, to whatever user or group: so nothing is looked up for it that the sender
    has no right to, and no other node hears of it before the right is known.
    """

    def __init__(
        self,
        *,
        friends: FriendCache,
        members: Members,
        user_router: UserRouter,
        requests: Requests,
        stats: Stats,
    ) -> None:
        self._friends = friends
        self._members = members
        self._user_router = user_router
        self._requests = requests
        self._stats = stats

    def typing(self, client: Client, data: TypingNotice) -> None:
        """Forward that the user is typing to whoever is online."""
        if data.group_id is not None:
            self._to_group(client, data.group_id)
        elif data.to_user_id is not None:
            self._to_user(client, data.to_user_id)

    def _to_group(self, client: Client, group_id: str) -> None:
        known = self._members.is_member(group_id, client.user_id)
        if known is None:
            self._requests.run_if_free(client, self._check_and_publish(client.user_id, group_id))
        elif known:
            self._publish(client.user_id, group_id)
        else:
            self._stats.typing_refused += 1

    async def _check_and_publish(self, user_id: int, group_id: str) -> None:
        await self._members.require_member(group_id, user_id)
        self._publish(user_id, group_id)

    def _publish(self, user_id: int, group_id: str) -> None:
        notice = frame("typing", Typing(from_user_id=user_id, group_id=group_id))
        if not self._user_router.publish(group_id, GroupFrame(notice, user_id, ephemeral=True)):
            self._stats.frames_shed += 1

    def _to_user(self, client: Client, to_user_id: int) -> None:
        mine, theirs = self._friends.known(client.user_id), self._friends.known(to_user_id)
        if mine is not None and to_user_id not in mine:
            self._stats.typing_refused += 1
        elif mine is None or theirs is None:
            self._requests.run_if_free(client, self._look_and_offer(client.user_id, to_user_id))
        elif client.user_id in theirs:
            self._offer(client.user_id, to_user_id)

    async def _look_and_offer(self, user_id: int, to_user_id: int) -> None:
        # The sender's list first: a stranger's is not worth a look-up. Then the receiver's, which
        # leaves out whom the receiver has blocked.
        if to_user_id not in await self._friends.friends(user_id):
            self._stats.typing_refused += 1
        elif user_id in await self._friends.friends(to_user_id):
            self._offer(user_id, to_user_id)

    def _offer(self, user_id: int, to_user_id: int) -> None:
        notice = Typing(from_user_id=user_id, group_id=UNSET)
        self._user_router.offer(to_user_id, frame("typing", notice))
