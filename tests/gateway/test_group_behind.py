"""Who falls behind in a group keeps the connection, and hears how far behind it is."""

import asyncio
import json
from typing import Any

import pytest
from websockets.frames import Opcode

from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import RawUser, raw_user
from tests.waiting import until

CONTENT = "x" * 3_000
WINDOW = 50


async def next_frame(user: RawUser) -> dict[str, Any]:
    """Return the next text frame."""
    while True:
        opcode, payload = await user.read_frame()
        if opcode is Opcode.TEXT:
            found: dict[str, Any] = json.loads(payload)
            return found


@pytest.mark.gen_test
async def test_a_slow_reader_of_a_group_gets_a_hint_and_stays_connected(
    make_world: MakeWorld,
) -> None:
    """The messages that it got, and those that the hint covers, are all there are."""
    async with make_world(rate_limit=0, send_queue_size=32) as world:
        sender = await world.login(1001)
        async with raw_user(world, 1002, receive_buffer=4096) as reader:
            await reader.expect("connected")
            stats = world.gateway.stats
            newest = 0
            while not stats.group_frames_folded:
                for _ in range(WINDOW):
                    await sender.send("group_chat", groupId="g_demo", content=CONTENT)
                for _ in range(WINDOW):
                    newest = (await sender.expect("ack", status="sent"))["seq"]
                await until(lambda: not world.gateway.router.queued)
            # Private messages still have room, and keep their order with what was queued.
            private = await sender.chat(1002, "private")

            seqs: list[int] = []
            ids: list[int] = []
            while True:
                frame = await next_frame(reader)
                if frame["type"] == "group_behind":
                    assert frame["data"] == {"groupId": "g_demo", "seq": newest}
                    break
                if frame["type"] == "group_chat":
                    seqs.append(frame["data"]["seq"])
                elif frame["type"] == "chat":
                    ids.append(frame["data"]["id"])
            assert seqs == list(range(1, len(seqs) + 1))
            assert len(seqs) < newest
            assert ids == [private["id"]]
            # What comes after the hint is live again.
            await sender.send("group_chat", groupId="g_demo", content="live")
            assert (await reader.expect("group_chat"))["seq"] == newest + 1
            assert stats.slow_consumers == 0
            missed = json.loads(
                (await world.get(f"/message/group/sync?groupId=g_demo&seq={len(seqs)}", 1002)).body
            )["data"]["list"]
            assert [message["seq"] for message in missed][: newest - len(seqs)] == list(
                range(len(seqs) + 1, min(newest + 1, len(seqs) + 200) + 1)
            )[: newest - len(seqs)]


@pytest.mark.gen_test
async def test_the_hint_waits_behind_what_was_queued_before_it(make_world: MakeWorld) -> None:
    """Several groups have one hint each; no frame of a group overtakes its hint."""
    async with make_world(rate_limit=0, send_queue_size=16) as world:
        await world.add_group("g_two", 1001, 1002)
        sender = await world.login(1001)
        async with raw_user(world, 1002, receive_buffer=4096) as reader:
            await reader.expect("connected")
            client = world.gateway.hub.get(1002)
            assert client is not None
            last = {"g_demo": 0, "g_two": 0}
            while not (client.outbox.behind and len(client.outbox.behind) == len(last)):
                for group_id in last:
                    await sender.send("group_chat", groupId=group_id, content=CONTENT)
                    last[group_id] = (await sender.expect("ack", status="sent"))["seq"]
                await asyncio.sleep(0)
            seen: dict[str, list[str]] = {group_id: [] for group_id in last}
            hints: dict[str, int] = {}
            while len(hints) < len(last):
                frame = await next_frame(reader)
                data = frame["data"]
                if "groupId" in data:
                    assert data["groupId"] not in hints
                    seen[data["groupId"]].append(frame["type"])
                    if frame["type"] == "group_behind":
                        hints[data["groupId"]] = data["seq"]
            assert hints == last
