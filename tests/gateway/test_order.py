"""Messages of a group reach everyone in the order of seq, without a gap."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from skyeim_ws.config.rpc import RpcConf
from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.contract.pb import group_pb2 as pb
from tests.gateway.conftest import MakeWorld
from tests.rpc.servers import serving
from tests.world import User

GROUP = "g_many"
SENDERS = (1001, 1002, 1003, 1004, 1005)
LISTENER = 1006
EACH = 200
TOTAL = EACH * len(SENDERS)


class SlowMembers:
    """A Group service whose member list waits until `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def get_member_list(self, request: Any, context: Any) -> pb.GetMemberListResp:
        await self.gate.wait()
        users = (*SENDERS, LISTENER)
        members = [pb.MemberInfo(group_id=GROUP, user_id=user_id, role=3) for user_id in users]
        return pb.GetMemberListResp(members=members, total=len(members))

    async def get_joined_groups(self, request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        return pb.GetJoinedGroupsResp()


class Traffic:
    """Reads a connection until it has seen everything that it is to see."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.seqs: list[int] = []
        self.stored: dict[str, int] = {}
        self.refused: list[str] = []
        self.reasons: Counter[str] = Counter()

    async def send(self, msg_ids: list[str]) -> None:
        """Send these messages and read until each has its answer."""
        self.refused = []
        for msg_id in msg_ids:
            await self.user.send("group_chat", groupId=GROUP, content="hello", msgId=msg_id)
        while len(self.stored.keys() & msg_ids) + len(self.refused) < len(msg_ids):
            await self.read()

    async def send_until_stored(self, msg_ids: list[str]) -> None:
        """Send again what was refused, under the same msgId, until all is stored."""
        while msg_ids:
            await self.send(msg_ids)
            msg_ids = self.refused

    async def read_all(self) -> None:
        """Read until every message of the group was seen: as its own or from another."""
        while len(self.seqs) + len(self.stored) < TOTAL:
            await self.read()

    async def read(self) -> None:
        frame = await self.user.receive()
        data = frame["data"]
        if frame["type"] == "group_chat":
            assert data["groupId"] == GROUP
            self.seqs.append(data["seq"])
        elif frame["type"] == "ack" and data["status"] == "sent":
            self.stored[data["msgId"]] = data["seq"]
        elif frame["type"] == "ack":
            self.refused.append(data["msgId"])
            self.reasons[data["reason"]] += 1


@pytest.mark.gen_test
async def test_everyone_sees_each_seq_once_and_ascending_while_the_members_are_unknown_at_first(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    members = SlowMembers()
    methods = {
        "GetMemberList": members.get_member_list,
        "GetJoinedGroups": members.get_joined_groups,
    }
    async with (
        serving(f"unix:{tmp_path}/groups.sock", group=methods) as address,
        make_world(group_rpc=RpcConf(endpoints=(address,), timeout=60_000), rate_limit=0) as world,
    ):
        await world.add_group(GROUP, *SENDERS, LISTENER)
        senders = [Traffic(await world.login(user_id)) for user_id in SENDERS]
        listener = Traffic(await world.login(LISTENER))
        everyone = [*senders, listener]
        batches = [
            [f"{sender.user.user_id}-{number}" for number in range(EACH)] for sender in senders
        ]
        async with asyncio.TaskGroup() as tasks:
            for sender, batch in zip(senders, batches, strict=True):
                tasks.create_task(sender.send(batch))

        # The queue is full before a message is stored, never after.
        queue_size = WebSocketConf().group_queue_size
        assert sum(len(sender.stored) for sender in senders) == queue_size
        assert world.gateway.router.queued == queue_size
        assert not any(traffic.seqs for traffic in everyone)
        reasons = sum((sender.reasons for sender in senders), Counter[str]())
        assert reasons == {"busy": TOTAL - queue_size}

        members.gate.set()
        async with asyncio.TaskGroup() as tasks:
            for sender in senders:
                tasks.create_task(sender.send_until_stored(sender.refused))
            tasks.create_task(listener.read_all())
        async with asyncio.TaskGroup() as tasks:
            for sender in senders:
                tasks.create_task(sender.read_all())

        assert listener.seqs == list(range(1, TOTAL + 1))
        for sender, batch in zip(senders, batches, strict=True):
            assert sender.seqs == sorted(sender.seqs)
            assert sorted([*sender.seqs, *sender.stored.values()]) == listener.seqs
            assert sender.stored.keys() == set(batch)
        assert all(sender.reasons.keys() <= {"busy"} for sender in senders)
        stats = world.gateway.stats
        assert (stats.slow_consumers, stats.group_dropped) == (0, 0)
