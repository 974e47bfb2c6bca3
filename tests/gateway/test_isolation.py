"""A group whose members cannot be found holds up nobody else."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from skyeim_ws.config.rpc import RpcConf
from skyeim_ws.contract.pb import group_pb2 as pb
from tests.gateway.conftest import MakeWorld
from tests.rpc.servers import serving
from tests.waiting import until

SLOW = "g_slow"
DEMO = "g_demo"
USERS = (1001, 1002, 1003)


class Groups:
    """A Group service that answers for `g_slow` only after `gate` is set, and notes who waits."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = 0

    @property
    def methods(self) -> dict[str, Any]:
        return {"GetMemberList": self.get_member_list, "GetJoinedGroups": self.get_joined_groups}

    async def get_member_list(self, request: Any, context: Any) -> pb.GetMemberListResp:
        if request.group_id == SLOW:
            self.waiting += 1
            await self.gate.wait()
        return pb.GetMemberListResp(members=_seats(request.group_id, USERS), total=len(USERS))

    async def get_joined_groups(self, request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        return pb.GetJoinedGroupsResp(
            list=[pb.MemberInfo(group_id=group_id) for group_id in (SLOW, DEMO)]
        )


def _seats(group_id: str, users: Iterable[int]) -> list[pb.MemberInfo]:
    return [pb.MemberInfo(group_id=group_id, user_id=user_id, role=3) for user_id in users]


@pytest.mark.gen_test
async def test_a_look_up_that_hangs_delays_no_message_no_login_and_no_other_group(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    groups = Groups()
    async with (
        serving(f"unix:{tmp_path}/groups.sock", group=groups.methods) as address,
        make_world(group_rpc=RpcConf(endpoints=(address,), timeout=60_000)) as world,
    ):
        await world.add_group(SLOW, *USERS)
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.send("group_chat", groupId=SLOW, content="stuck", msgId="slow-1")
        await alice.expect("ack", msgId="slow-1", status="sent")
        await until(lambda: groups.waiting)

        await alice.chat(1002, "hello", msgId="private-1")
        await bob.expect("chat", msgId="private-1")
        carol = await world.login(1003)
        await alice.send("group_chat", groupId=DEMO, content="hello", msgId="demo-1")
        for user in (bob, carol):
            await user.expect("group_chat", groupId=DEMO, msgId="demo-1")
        # The group takes more meanwhile, and its events wait in line.
        await bob.send("group_chat", groupId=SLOW, content="behind", msgId="slow-2")
        await bob.expect("ack", msgId="slow-2", status="sent")
        event = {"type": "group", "groupId": SLOW, "eventType": "updateGroup", "eventData": {}}
        assert (await world.push(event)).code == 200
        # Who logs in again takes the older connection's place at once.
        bob = await world.login(1002)
        assert groups.waiting == 1
        assert world.gateway.router.queued == 3

        groups.gate.set()
        # Only now, to all who are here now, and in order.
        await carol.expect("group_chat", msgId="slow-1", seq=1)
        await carol.expect("group_chat", msgId="slow-2", seq=2)
        await carol.expect("updateGroup")
        await bob.expect("group_chat", msgId="slow-1")
        assert not [frame for frame in carol.skipped if frame["type"] == "group_chat"]
        await alice.expect("group_chat", msgId="slow-2")


@pytest.mark.gen_test
async def test_a_group_service_that_never_answers_delays_no_login_and_no_logout(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    asked: list[str] = []

    async def hang(request: Any, context: Any) -> None:
        asked.append(type(request).__name__)
        await asyncio.Event().wait()

    methods = {"GetMemberList": hang, "GetJoinedGroups": hang}
    async with (
        serving(f"unix:{tmp_path}/groups.sock", group=methods) as address,
        make_world(group_rpc=RpcConf(endpoints=(address,), timeout=60_000)) as world,
    ):
        alice = await world.login(1001)
        bob = await world.login(1002)
        await until(lambda: len(asked) == 2)
        await alice.chat(1002, "hello", msgId="m-1")
        await bob.expect("chat", msgId="m-1")
        await bob.connection.close()
        await until(lambda: 1002 not in world.gateway.hub)
        assert asked == ["GetJoinedGroupsReq"] * 2
