"""The Friend service over real gRPC and SQLite, its notifications over real HTTP."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from sqlalchemy import insert

from skyeim_ws.contract.names import MAX_USERS
from skyeim_ws.contract.pb import friend_pb2 as pb
from skyeim_ws.services import lists
from skyeim_ws.services.tables import friend_requests, friends
from tests.services.conftest import Services
from tests.services.peers import running_gateway
from tests.services.serving import ACCEPT, INVALID, REFUSE, refused, serving

NOBODY = 9_000


async def ask(services: Services, sender: int, receiver: int, message: str = "") -> int:
    response = await services.friend.AddFriendRequest(
        pb.AddFriendRequestReq(from_user_id=sender, to_user_id=receiver, message=message)
    )
    return response.request_id


async def answer(services: Services, user_id: int, request_id: int, action: int) -> None:
    await services.friend.HandleFriendRequest(
        pb.HandleFriendRequestReq(user_id=user_id, request_id=request_id, action=action)
    )


async def make_friends(services: Services, one: int, other: int) -> None:
    await answer(services, other, await ask(services, one, other), ACCEPT)


async def standing(services: Services, user_id: int, friend_id: int) -> tuple[bool, int]:
    response = await services.friend.IsFriend(pb.IsFriendReq(user_id=user_id, friend_id=friend_id))
    return response.is_friend, response.status


async def friend_ids(services: Services, user_id: int) -> list[int]:
    response = await services.friend.GetFriendList(pb.GetFriendListReq(user_id=user_id))
    assert response.total == len(response.list)
    return [friend.friend_id for friend in response.list]


@pytest.mark.gen_test
async def test_accepted_request_makes_friends_of_both(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        await make_friends(services, 1, 2)
        assert await standing(services, 1, 2) == (True, 1)
        assert await standing(services, 2, 1) == (True, 1)
        assert await friend_ids(services, 1) == [2]
        assert await friend_ids(services, 2) == [1]
        with refused(grpc.StatusCode.ALREADY_EXISTS, "already_friends"):
            await ask(services, 2, 1)


@pytest.mark.gen_test
async def test_refused_request_may_be_made_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        first = await ask(services, 1, 2)
        await answer(services, 2, first, REFUSE)
        assert await standing(services, 1, 2) == (False, 0)
        second = await ask(services, 1, 2)
        assert second != first
        await answer(services, 2, second, ACCEPT)
        assert await standing(services, 1, 2) == (True, 1)


@pytest.mark.gen_test
async def test_same_pending_request_returns_its_id(tmp_path: Path) -> None:
    async with running_gateway() as gateway, serving(tmp_path, push_url=gateway.url) as services:
        first = await ask(services, 1, 2, "hello")
        assert await ask(services, 1, 2, "hello again") == first
        await ask(services, 3, 2)
        calls = await gateway.heard("friend_request", 2)
        assert [call["data"]["fromUserId"] for call in calls] == [1, 3]


@pytest.mark.gen_test
async def test_requests_that_cross_become_a_friendship(tmp_path: Path) -> None:
    async with running_gateway() as gateway, serving(tmp_path, push_url=gateway.url) as services:
        await asyncio.gather(ask(services, 1, 2), ask(services, 2, 1))
        assert await standing(services, 1, 2) == (True, 1)
        assert await standing(services, 2, 1) == (True, 1)
        sent = await services.friend.GetSentRequestList(pb.GetSentRequestListReq(user_id=1))
        received = await services.friend.GetFriendRequestList(pb.GetFriendRequestListReq(user_id=1))
        assert [each.status for each in [*sent.list, *received.list]] == [1, 1]
        calls = await gateway.heard("friend_request_handled", 2)
        assert {call["userId"] for call in calls} == {1, 2}


@pytest.mark.gen_test
async def test_only_the_receiver_answers_and_only_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        request_id = await ask(services, 1, 2)
        for stranger in (1, 3):
            with refused(grpc.StatusCode.PERMISSION_DENIED, "not_receiver"):
                await answer(services, stranger, request_id, ACCEPT)
        with refused(*INVALID):
            await answer(services, 2, request_id, 3)
        await answer(services, 2, request_id, ACCEPT)
        with refused(grpc.StatusCode.ALREADY_EXISTS, "already_handled"):
            await answer(services, 2, request_id, REFUSE)
        with refused(grpc.StatusCode.NOT_FOUND, "request_not_found"):
            await answer(services, 2, request_id + 1, ACCEPT)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("sender", "receiver", "message"), [(1, 1, ""), (0, 2, ""), (1, -2, ""), (1, 2, "x" * 256)]
)
async def test_bad_requests_are_invalid(
    tmp_path: Path, sender: int, receiver: int, message: str
) -> None:
    async with serving(tmp_path) as services:
        with refused(*INVALID):
            await ask(services, sender, receiver, message)


@pytest.mark.gen_test
async def test_receiver_and_sender_are_told(tmp_path: Path) -> None:
    async with running_gateway() as gateway, serving(tmp_path, push_url=gateway.url) as services:
        request_id = await ask(services, 1, 2, "hello")
        await answer(services, 2, request_id, REFUSE)
        await gateway.heard("friend_request_handled")
        parties = {"requestId": request_id, "id": request_id, "fromUserId": 1, "toUserId": 2}
        [request] = (
            await services.friend.GetSentRequestList(pb.GetSentRequestListReq(user_id=1))
        ).list
        handled_at = gateway.calls[1]["data"]["handledAt"]
        assert request.created_at <= handled_at <= time.time()
        assert gateway.calls == [
            {
                "type": "user",
                "userId": 2,
                "notificationType": "friend_request",
                "data": parties | {"message": "hello", "createdAt": request.created_at},
            },
            {
                "type": "user",
                "userId": 1,
                "notificationType": "friend_request_handled",
                "data": parties | {"status": 2, "action": "rejected", "handledAt": handled_at},
            },
        ]


@pytest.mark.gen_test
async def test_deleted_friendship_is_gone_for_both(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        await make_friends(services, 1, 2)
        await services.friend.DeleteFriend(pb.DeleteFriendReq(user_id=2, friend_id=1))
        assert await standing(services, 1, 2) == (False, 0)
        assert await standing(services, 2, 1) == (False, 0)
        with refused(grpc.StatusCode.NOT_FOUND, "not_friend"):
            await services.friend.DeleteFriend(pb.DeleteFriendReq(user_id=2, friend_id=1))
        await make_friends(services, 2, 1)


@pytest.mark.gen_test
async def test_blacklist_is_one_sided_and_may_be_undone(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        await make_friends(services, 1, 2)
        await services.friend.SetBlacklist(
            pb.SetBlacklistReq(user_id=1, friend_id=2, is_black=True)
        )
        assert await standing(services, 1, 2) == (False, 2)
        assert await standing(services, 2, 1) == (True, 1)
        assert await friend_ids(services, 1) == []
        assert await friend_ids(services, 2) == [1]
        blocked = await services.friend.GetBlacklist(pb.GetBlacklistReq(user_id=1))
        assert [(each.friend_id, each.status) for each in blocked.list] == [(2, 2)]
        await services.friend.SetBlacklist(pb.SetBlacklistReq(user_id=1, friend_id=2))
        assert await standing(services, 1, 2) == (True, 1)
        with refused(grpc.StatusCode.NOT_FOUND, "not_friend"):
            await services.friend.SetBlacklist(
                pb.SetBlacklistReq(user_id=1, friend_id=NOBODY, is_black=True)
            )


@pytest.mark.gen_test
async def test_remark_is_kept_on_the_own_side(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        await make_friends(services, 1, 2)
        remark = "名" * 64
        await services.friend.UpdateFriendRemark(
            pb.UpdateFriendRemarkReq(user_id=1, friend_id=2, remark=remark)
        )
        mine = await services.friend.GetFriendList(pb.GetFriendListReq(user_id=1))
        theirs = await services.friend.GetFriendList(pb.GetFriendListReq(user_id=2))
        assert [mine.list[0].remark, theirs.list[0].remark] == [remark, ""]
        with refused(*INVALID):
            await services.friend.UpdateFriendRemark(
                pb.UpdateFriendRemarkReq(user_id=1, friend_id=2, remark="x" * 65)
            )
        with refused(grpc.StatusCode.NOT_FOUND, "not_friend"):
            await services.friend.UpdateFriendRemark(
                pb.UpdateFriendRemarkReq(user_id=1, friend_id=NOBODY, remark="x")
            )


@pytest.mark.gen_test
async def test_lists_come_in_pages_newest_first(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        others = range(2, 27)
        async with services.database.write() as connection:
            await connection.execute(
                insert(friends), [{"user_id": 1, "friend_id": other} for other in others]
            )
            await connection.execute(
                insert(friend_requests),
                [{"from_user_id": other, "to_user_id": 1, "status": 1} for other in others],
            )

        async def page(number: int, size: int) -> list[int]:
            response = await services.friend.GetFriendList(
                pb.GetFriendListReq(user_id=1, page=number, page_size=size)
            )
            assert response.total == len(others)
            return [friend.friend_id for friend in response.list]

        newest_first = list(reversed(others))
        assert await page(0, 0) == newest_first[:20]
        assert await page(2, 0) == newest_first[20:]
        assert await page(3, 10) == newest_first[20:]
        assert await page(1, 1_000_000) == newest_first
        requests = await services.friend.GetFriendRequestList(
            pb.GetFriendRequestListReq(user_id=1, page=2, page_size=20)
        )
        assert [each.from_user_id for each in requests.list] == newest_first[20:]
        assert requests.total == len(others)
        for number, size in ((-1, 0), (1, -1), (2**62, 0)):
            with refused(*INVALID):
                await page(number, size)


async def friend_lists(services: Services, *user_ids: int) -> dict[int, list[int]]:
    response = await services.friend.GetFriendLists(pb.GetFriendListsReq(user_ids=user_ids))
    return {each.user_id: sorted(each.friend_ids) for each in response.lists}


@pytest.mark.gen_test
async def test_the_friends_of_many_are_listed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as services:
        await make_friends(services, 1, 2)
        await make_friends(services, 1, 3)
        await make_friends(services, 2, 3)
        await services.friend.SetBlacklist(
            pb.SetBlacklistReq(user_id=3, friend_id=1, is_black=True)
        )
        expected = {1: [2, 3], 2: [1, 3], 3: [2], 4: []}
        assert await friend_lists(services, 4, 3, 2, 1, 1) == expected
        # What was cut off in the middle is not told, nor what would come behind.
        monkeypatch.setattr(lists, "MAX_ROWS", 3)
        assert await friend_lists(services, 1, 2, 3) == {1: [2, 3]}
        for bad in ([], [0], range(1, MAX_USERS + 2)):
            with refused(*INVALID):
                await friend_lists(services, *bad)
