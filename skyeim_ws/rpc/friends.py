"""The client of the Friend service."""

from collections.abc import Mapping, Sequence

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import friend_pb2 as pb
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from skyeim_ws.logic.contacts import Friend, cut_page
from skyeim_ws.rpc.gathered import Gathered
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service

PAGE_SIZE = 1_000
BLOCKED = 2
"""The status of a friend whom the user has blocked."""


class FriendClient:
    """`ports.Friends` and `contacts.FriendPages` over a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._service = Service(pool, FriendStub)
        self._friends = Gathered(self._friends_of, self._all_pages, pool.spawn)

    async def friends(self, user_id: int) -> frozenset[int]:
        """Return the friends of the user, without those that the user has blocked.

        Raises Refused or Unavailable.
        """
        return await self._friends.get(user_id)

    async def _friends_of(self, user_ids: Sequence[int]) -> Mapping[int, frozenset[int]] | None:
        answer = await self._service.ask_optional(
            lambda stub: stub.GetFriendLists,
            pb.GetFriendListsReq(user_ids=user_ids),
            denied=Reason.NOT_FRIEND,
        )
        return (
            None
            if answer is None
            else {each.user_id: frozenset(each.friend_ids) for each in answer.lists}
        )

    async def _all_pages(self, user_id: int) -> frozenset[int]:
        """Return the same from a server that knows users alone; each page has its own deadline."""
        found: dict[int, int] = {}
        page = 1
        while True:
            answer = await self._service.ask(
                lambda stub: stub.GetFriendList,
                pb.GetFriendListReq(user_id=user_id, page=page, page_size=PAGE_SIZE),
                denied=Reason.NOT_FRIEND,
            )
            before = len(found)
            found.update((friend.friend_id, friend.status) for friend in answer.list)
            # A server that ignores paging brings the same friends again.
            if len(found) == before or len(found) >= answer.total:
                break
            page += 1
        return frozenset(friend for friend, status in found.items() if status != BLOCKED)

    async def friend_page(self, user_id: int, page: int, size: int) -> tuple[list[Friend], int]:
        """Return a page of the user's friends, and how many there are; pages count from 1.

        Raises Refused or Unavailable.
        """
        answer = await self._service.ask(
            lambda stub: stub.GetFriendList,
            pb.GetFriendListReq(user_id=user_id, page=page, page_size=size),
            denied=Reason.NOT_FRIEND,
        )
        found = cut_page(answer.list, answer.total, page, size)
        return [
            Friend(
                id=friend.id,
                friend_id=friend.friend_id,
                remark=friend.remark,
                status=friend.status,
                created_at=friend.created_at,
            )
            for friend in found
        ], answer.total

    async def why_denied(self, user_id: int, peer_id: int, timeout: float) -> Reason:
        """Return why the user may not write to the peer; raises Refused or Unavailable.

        There are two calls, one for each direction, of at most `timeout` seconds each.
        """
        for one, other in ((user_id, peer_id), (peer_id, user_id)):
            answer = await self._service.ask(
                lambda stub: stub.IsFriend,
                pb.IsFriendReq(user_id=one, friend_id=other),
                denied=Reason.NOT_FRIEND,
                timeout=timeout,
            )
            if answer.status == BLOCKED:
                return Reason.BLOCKED
        return Reason.NOT_FRIEND
