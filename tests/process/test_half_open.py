"""A client whose packets get lost, not its connection: nothing is confirmed, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.process.conftest import CONFIG, queued, running, user
from tests.process.test_workers import DEMO, WORKERS, port_of, user_on
from tests.world import User

PONG_TIMEOUT = 2
EACH = 15
PATIENCE = PONG_TIMEOUT + 10
"""Seconds; less than CloseTimeout, because nobody has to wait for a peer that is silent."""

SETTINGS = f"""
Workers: 2
WebSocket:
  {{PingInterval: 1, PongTimeout: {PONG_TIMEOUT}, CloseTimeout: 50, OfflinePushLimit: 100}}
"""


class Link:
    """A TCP proxy whose packets can get lost, both ways, while its connections stay open."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lost = False
        self._writers: list[asyncio.StreamWriter] = []
        self._ways: list[asyncio.Task[None]] = []

    def lose(self) -> None:
        """Forward nothing more."""
        self._lost = True

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection."""
        out_reader, out_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, out_writer]
        self._ways += [
            asyncio.create_task(self._forward(reader, out_writer)),
            asyncio.create_task(self._forward(out_reader, writer)),
        ]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self._lost:
                writer.write(data)
        if not self._lost:
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        for way in self._ways:
            way.cancel()
        for writer in self._writers:
            writer.close()
        closed = (writer.wait_closed() for writer in self._writers)
        await asyncio.gather(*self._ways, *closed, return_exceptions=True)


@asynccontextmanager
async def link_to(target: int) -> AsyncIterator[tuple[Link, int]]:
    """Run a proxy; give it and its port."""
    link = Link(target)
    server = await asyncio.start_server(link.connected, "127.0.0.1", 0)
    try:
        yield link, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await link.close()
        await server.wait_closed()


async def send_all(sender: User, receiver_id: int) -> list[str]:
    """Send messages one after the other; return what was sent."""
    texts = [f"{sender.user_id}-{number}" for number in range(EACH)]
    for text in texts:
        await sender.chat(receiver_id, text, msgId=text)
    return texts


def delivered(frames: list[dict[str, object]]) -> list[object]:
    """Return the acks among the frames that tell of a delivery."""
    acks = [frame["data"] for frame in frames if frame["type"] == "ack"]
    return [data for data in acks if isinstance(data, dict) and data["status"] == "delivered"]


@pytest.mark.gen_test
async def test_what_a_silent_client_was_sent_waits_for_its_return_and_is_not_called_delivered(
    folder: Path,
) -> None:
    """One sender is on the node of the receiver, the other one is not."""
    (folder / "ws.yaml").write_text(CONFIG.replace("json}", "json, Level: debug}") + SETTINGS)
    async with running(folder, *DEMO) as program:
        port = await port_of(program)
        async with (
            link_to(port) as (link, link_port),
            user_on(port, 1001, WORKERS[0]) as alice,
            user_on(port, 1003, WORKERS[1]) as carol,
            user_on(link_port, 1002, WORKERS[0]) as bob,
        ):
            senders = (alice, carol)
            for sender in senders:
                await sender.chat(1002, "before", msgId=f"before-{sender.user_id}")
                await sender.expect("ack", msgId=f"before-{sender.user_id}", status="delivered")
                await bob.expect("chat", fromUserId=sender.user_id)
                sender.skipped.clear()
            link.lose()
            texts = await asyncio.gather(*(send_all(sender, 1002) for sender in senders))

            async with asyncio.timeout(PATIENCE):
                await program.event("connection_state", user=1002, new="DRAINING", code=4005)
                await queued(folder, 1002, 2 * EACH)
            for sender in senders:
                await sender.expect("offline", userId=1002)
                assert delivered(sender.skipped + await sender.quiet()) == []

            async with user(port, 1002) as back:
                chats = [await back.expect("chat") for _ in range(2 * EACH)]
                for sender, sent in zip(senders, texts, strict=True):
                    came = [chat for chat in chats if chat["fromUserId"] == sender.user_id]
                    assert [chat["content"] for chat in came] == sent
                    for text in sent:
                        await sender.expect("ack", msgId=text, status="delivered")
                await queued(folder, 1002, 0)
                assert "chat" not in {frame["type"] for frame in await back.quiet()}
            # He would wait for an answer to his close frame.
            bob.connection.transport.abort()
            await bob.connection.wait_closed()
