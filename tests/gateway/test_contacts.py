"""Where a client learns over HTTP whom its user may write to."""

from typing import Any

import pytest
from sqlalchemy import insert, update

from skyeim_ws.contract.names import DEMO_NAMES
from skyeim_ws.services.tables import friends, groups
from tests.gateway.conftest import MakeWorld
from tests.gateway.test_http import decoded


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_friends_come_page_by_page(make_world: MakeWorld, prefix: str) -> None:
    async with make_world() as world:
        mine = friends.c.user_id == 1001
        await world.execute(update(friends).where(mine).values(created_at=1_700_000_000))
        await world.execute(
            update(friends).where(mine, friends.c.friend_id == 1003).values(remark="Cäcilie")
        )
        answer = decoded(await world.get(f"{prefix}/friend/list", 1001))
        assert (answer["code"], answer["message"]) == (200, "success")
        shown = [
            {key: entry[key] for key in entry if key != "id"} for entry in answer["data"]["list"]
        ]
        common = {"status": 1, "createdAt": 1_700_000_000}
        assert shown == [
            {"friendId": 1003, "remark": "Cäcilie"} | common,
            {"friendId": 1002, "remark": DEMO_NAMES[1002]} | common,
        ]
        assert all(isinstance(entry["id"], int) for entry in answer["data"]["list"])
        assert answer["data"]["total"] == 2
        pages = [
            decoded(await world.get(f"{prefix}/friend/list?pageSize=1&page={page}", 1001))["data"]
            for page in (1, 2, 3)
        ]
        assert [[entry["friendId"] for entry in page["list"]] for page in pages] == [
            [1003],
            [1002],
            [],
        ]
        assert {page["total"] for page in pages} == {2}


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_groups_have_what_a_list_of_them_shows(make_world: MakeWorld, prefix: str) -> None:
    async with make_world() as world:
        await world.execute(
            insert(groups).values(group_id="g_other", name="Not mine", owner_id=1009)
        )
        await world.execute(
            update(groups)
            .where(groups.c.group_id == "g_demo")
            .values(avatar="a.png", description="all", created_at=5, updated_at=6)
        )
        data = decoded(await world.get(f"{prefix}/group/list", 1002))["data"]
        expected: dict[str, Any] = {
            "groupId": "g_demo",
            "name": "Demo group",
            "avatar": "a.png",
            "ownerId": 1001,
            "description": "all",
            "memberCount": 3,
            "maxMembers": 200,
            "status": 1,
            "createdAt": 5,
            "updatedAt": 6,
        }
        assert data == {"list": [expected], "total": 1}
        assert decoded(await world.get(f"{prefix}/group/list", 1004))["data"] == {
            "list": [],
            "total": 0,
        }


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_members_are_told_to_members_only(make_world: MakeWorld, prefix: str) -> None:
    async with make_world() as world:
        path = f"{prefix}/group/member/list?groupId=g_demo"
        data = decoded(await world.get(path, 1002))["data"]
        assert data["total"] == 3
        assert {entry["userId"]: entry["role"] for entry in data["list"]} == {
            1001: 1,
            1002: 3,
            1003: 3,
        }
        assert {tuple(entry) for entry in data["list"]} == {
            ("userId", "role", "nickname", "mute", "joinedAt", "readSeq")
        }
        second = decoded(await world.get(f"{path}&pageSize=2&page=2", 1002))["data"]
        assert [entry["userId"] for entry in second["list"]] == [1001]
        assert decoded(await world.get(path, 1004), 403)["code"] == 30006
        assert decoded(await world.get(f"{prefix}/group/member/list?groupId=g_none", 1001), 403)


@pytest.mark.gen_test
async def test_what_is_wrong_with_a_page_is_told(make_world: MakeWorld) -> None:
    async with make_world(rpc_timeout=300) as world:
        for path in ("/friend/list", "/group/list", "/group/member/list?groupId=g_demo"):
            and_ = "&" if "?" in path else "?"
            for wrong in ("page=0", "page=x", "pageSize=0", "page=1000001"):
                assert decoded(await world.get(path + and_ + wrong, 1001), 400)["code"] == 30001
            # More than a page holds is lowered, not refused.
            assert decoded(await world.get(f"{path}{and_}pageSize=100000", 1001))["data"]["list"]
            assert decoded(await world.get(path), 401)["code"] == 401
        assert decoded(await world.get("/group/member/list", 1001), 400)["code"] == 30001
        await world.stop_services()
        for path in ("/friend/list", "/group/list", "/group/member/list?groupId=g_demo"):
            assert decoded(await world.get(path, 1001), 503)["code"] == 30011
