"""A reader that stops costs bounded memory, and loses nothing."""

import asyncio
import os
from pathlib import Path

import pytest

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.transport import Transport
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.world import User

READER = 1002
EACH = 5_000
"""Messages of each of the two senders."""

GROUP_SHARE = 5
"""Of so many messages one goes to the group, the others to the reader itself."""

CONTENT = "x" * 3_000
WINDOW = 64
PAGE = 100
WRITE_BYTES = 262_144
"""What one write to a stalled peer may leave besides the outbox."""


class Held:
    """The most that the gateway held for a connection at any time that it was looked at."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.frames = self.queued_bytes = self.unconfirmed = 0

    def look(self) -> None:
        client = self._client
        self.frames = max(self.frames, len(client.outbox))
        self.queued_bytes = max(self.queued_bytes, client.outbox.size)
        self.unconfirmed = max(self.unconfirmed, len(client.ledger))


def not_taken(patch: pytest.MonkeyPatch) -> list[int]:
    """Note the size of each write of which the kernel does not take all at once."""
    sizes: list[int] = []
    write = Transport.write

    def noted(transport: Transport, data: bytes | memoryview) -> bool:
        done = write(transport, data)
        if not done:
            sizes.append(len(data))
        return done

    patch.setattr(Transport, "write", noted)
    return sizes


async def send_many(user: User, numbers: range, held: Held) -> set[int]:
    """Send messages, some of them to the group; return the ids of the private ones."""
    ids: set[int] = set()
    sent = answered = 0
    while answered < len(numbers):
        while sent < len(numbers) and sent - answered < WINDOW:
            number = numbers[sent]
            message = {"content": CONTENT, "msgId": f"{user.user_id}-{number}"}
            if number % GROUP_SHARE:
                await user.send("chat", toUserId=READER, **message)
            else:
                await user.send("group_chat", groupId="g_demo", **message)
            sent += 1
        frame = await user.receive()
        held.look()
        if frame["type"] == "ack":
            data = frame["data"]
            assert data["status"] == "sent", data
            answered += 1
            if "seq" not in data:
                ids.add(data["id"])
    return ids


async def pull_all(user: User, newest: list[int]) -> list[int]:
    """Return the ids of the offline queue, whose `newest` are known, in the order of time."""
    windows = [newest]
    while True:
        await user.send("offline_pull", limit=PAGE)
        frame = await user.receive()
        while frame["type"] not in ("error", "offline_messages"):  # who comes and who goes
            frame = await user.receive()
        if frame["type"] == "error":  # what was pushed is not confirmed yet
            assert frame["data"]["code"] == 30010
            await user.send("ping")
            await user.expect("pong")
            continue
        count = frame["data"]["pushCount"]
        windows.append([(await user.expect("chat"))["id"] for _ in range(count)])
        if not frame["data"]["hasMore"]:
            return [message_id for window in reversed(windows) for message_id in window]


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.gen_test
async def test_a_reader_that_stops_is_closed_with_4002_and_gets_everything_later(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = not_taken(monkeypatch)
    async with (
        make_world(rate_limit=0, close_timeout=60, confirm_interval=0.02) as world,
        raw_user(world, READER, receive_buffer=4096) as slow,
    ):
        await slow.expect("connected")
        client = world.gateway.hub.get(READER)
        assert client is not None
        held = Held(client)
        # Nothing limits what these two have received and not looked at yet.
        senders = [await world.login(user_id, max_queue=None) for user_id in (1001, 1003)]
        ids: set[int] = set()

        async def send_all(numbers: range) -> None:
            sent = await asyncio.gather(*(send_many(user, numbers, held) for user in senders))
            ids.update(*sent)

        # When this much has passed, all that has a bound has reached it.
        await send_all(range(1_000))
        resident = resident_bytes()
        await send_all(range(1_000, EACH))
        growth = resident_bytes() - resident
        assert growth < (EACH - 1_000) * len(CONTENT)  # half of what was sent
        assert len(ids) == len(senders) * (EACH - EACH // GROUP_SHARE)

        ws = world.config.web_socket
        assert 0 < held.frames <= ws.send_queue_size
        assert 0 < held.queued_bytes <= ws.send_queue_bytes
        assert 0 < max(waiting) <= WRITE_BYTES
        assert 0 < held.unconfirmed <= ws.ledger_size
        assert not client.outbox
        assert not client.ledger
        assert world.gateway.stats.slow_consumers == 1
        assert (await slow.close_frame()).code == 4002

        for user in senders:
            await user.connection.close()
        back = await world.dial(READER)
        await back.expect("connected")
        summary = await back.expect("offline_messages")
        assert summary["totalCount"] == len(ids)
        newest = [(await back.expect("chat"))["id"] for _ in range(summary["pushCount"])]
        assert list(dict.fromkeys(await pull_all(back, newest))) == sorted(ids)
