"""kill -9 of each of the processes: nothing is left behind, nothing is lost, the chat goes on."""

import os
import signal
from pathlib import Path

import pytest

from tests.process.conftest import (
    CONFIG,
    children,
    get,
    gone,
    offline,
    queued,
    running,
    skyeim,
    user,
)
from tests.waiting import until
from tests.webhook.receiver import SECRET, receiving
from tests.world import User

DEMO = skyeim("demo", "--port", "0", "--data-dir", "data")


async def send(sender: User, kind: str, msg_id: str, **data: object) -> None:
    """Send until it is stored, as a client does: a retry has the same msgId."""
    while True:
        await sender.send(kind, msgId=msg_id, content=msg_id, **data)
        answer = await sender.expect("ack", msgId=msg_id)
        if answer["status"] == "sent":
            return
        assert answer["reason"] == "rpc_error"


@pytest.mark.gen_test
async def test_a_killed_gateway_leaves_no_process_no_ghost_and_all_the_data(folder: Path) -> None:
    async with running(folder, *DEMO) as program:
        port = await program.port()
        async with user(port, 1001) as alice, user(port, 1002) as bob:
            await offline(alice)
            await offline(bob)
            await alice.chat(1003, "for later")
            await send(alice, "group_chat", "g-1", groupId="g_demo")
            await queued(folder, 1003, 1)
            pids = children(program.process.pid)
            assert len(pids) == 2
            program.process.kill()
            assert await program.exit_code() == -signal.SIGKILL
        await gone(*pids)

    async with running(folder, *DEMO) as program:
        port = await program.port()
        async with user(port, 1003) as carol:
            assert (await carol.expect("connected"))["onlineCount"] == 1
            await carol.send("presence", userIds=[1001, 1002])
            assert (await carol.expect("chat"))["content"] == "for later"
            assert (await carol.expect("presence"))["online"] == []
            await send(carol, "group_chat", "g-2", groupId="g_demo")
        synced = await get(port, "/message/group/sync?groupId=g_demo&seq=0", 1002)
        assert [(each["seq"], each["content"]) for each in synced] == [(1, "g-1"), (2, "g-2")]


@pytest.mark.gen_test
async def test_a_notice_of_a_promised_message_outlives_its_gateway(folder: Path) -> None:
    async with receiving() as receiver:
        pass
    webhook = f'{{Url: "{receiver.url}", Secret: "{SECRET}"}}'
    config = f"{CONFIG}\nOffline: {{Webhook: {webhook}}}\n"
    (folder / "ws.yaml").write_text(config)
    async with running(folder, *DEMO) as program, user(await program.port(), 1001) as alice:
        await send(alice, "chat", "p-1", toUserId=1003)
        program.process.kill()
        await program.exit_code()
    async with receiving(receiver.port) as back, running(folder, *DEMO):
        await until(lambda: (1003, "p-1") in back.told)


@pytest.mark.gen_test
async def test_killed_children_come_back_and_no_connection_notices(folder: Path) -> None:
    async with running(folder, *DEMO) as program:
        port = await program.port()
        async with user(port, 1001) as alice, user(port, 1002) as bob:
            await offline(alice)
            await offline(bob)

            os.kill(await program.child("services"), signal.SIGKILL)
            await send(alice, "chat", "p-1", toUserId=1002)
            await bob.expect("chat", msgId="p-1")
            await send(bob, "group_chat", "g-1", groupId="g_demo")
            assert (await alice.expect("group_chat", msgId="g-1"))["seq"] == 1
            assert await program.child("services", 2)

            os.kill(await program.child("valkey"), signal.SIGKILL)
            await send(alice, "chat", "p-2", toUserId=1002)
            await bob.expect("chat", msgId="p-2")
            await send(alice, "chat", "q-1", toUserId=1003)  # waits in memory for the queue
            assert await program.child("valkey", 2)
            await send(bob, "group_chat", "g-2", groupId="g_demo")
            assert (await alice.expect("group_chat", msgId="g-2"))["seq"] == 2
            await send(alice, "chat", "q-2", toUserId=1003)
            await program.event("redis_recovered")
            await queued(folder, 1003, 2)
            async with user(port, 1003) as carol:
                assert [(await carol.expect("chat"))["msgId"] for _ in range(2)] == ["q-1", "q-2"]
        died = [(each["child"], each["exit_code"]) for each in program.events("child_died")]
        assert died == [("services", -signal.SIGKILL), ("valkey", -signal.SIGKILL)]
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0
