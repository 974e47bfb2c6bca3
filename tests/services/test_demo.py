"""The demo data come into an empty database, once, and into no other."""

from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from skyeim_ws.contract.names import DEMO_GROUP, DEMO_USERS
from skyeim_ws.contract.pb import friend_pb2, group_pb2
from skyeim_ws.services.demo import seed_demo
from skyeim_ws.services.tables import friends, groups
from tests.services.serving import serving


@pytest.mark.gen_test
async def test_demo_users_are_friends_and_share_a_group(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        await seed_demo(services.database)
        await seed_demo(services.database)
        for user_id in DEMO_USERS:
            mine = await services.friend.GetFriendList(friend_pb2.GetFriendListReq(user_id=user_id))
            assert {each.friend_id for each in mine.list} == set(DEMO_USERS) - {user_id}
        group = await services.group.GetGroupInfo(
            group_pb2.GetGroupInfoReq(group_id=DEMO_GROUP, user_id=1003)
        )
        members = await services.group.GetMemberList(
            group_pb2.GetMemberListReq(group_id=DEMO_GROUP)
        )
    assert (group.group.name, group.group.owner_id) == ("Demo group", 1001)
    assert group.group.member_count == members.total == 3
    assert {each.user_id: each.role for each in members.members} == {1001: 1, 1002: 3, 1003: 3}


@pytest.mark.gen_test
async def test_database_in_use_is_left_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as services:
        async with services.database.write() as connection:
            await connection.execute(insert(friends).values(user_id=1, friend_id=2))
        await seed_demo(services.database)
        async with services.database.read() as connection:
            count = await connection.scalar(select(func.count()).select_from(groups))
    assert count == 0
