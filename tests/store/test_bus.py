"""The bus: messages arrive, what cannot be read is logged, and a dead subscription is replaced."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.contract.names import BROADCAST
from skyeim_ws.store import listener as listener_module
from skyeim_ws.store.bus import RedisBus
from skyeim_ws.store.keys import node_channel, session_key
from skyeim_ws.store.pipeline import Pipeline
from tests.store.servers import Server, client_at, connected, pipelined
from tests.waiting import until


class Heard:
    """`logic.bus.BusEvents` that takes messages."""

    def __init__(self) -> None:
        self.messages: list[tuple[object, ...]] = []
        self.groups: set[str] = set()

    def private(self, user_id: int, entry: bytes) -> None:
        self.messages.append(("private", user_id, entry))

    def frame(self, user_ids: Sequence[int], frame: bytes, *, ephemeral: bool) -> None:
        self.messages.append(("frame", list(user_ids), frame, ephemeral))

    def acked(self, user_id: int, msg_ids: Sequence[str], status: str) -> None:
        self.messages.append(("acked", user_id, list(msg_ids), status))

    def group(self, group_id: str, item: GroupFrame) -> None:
        self.messages.append(("group", group_id, item))

    def kicked(self, user_id: int, conn_id: str, node: str, successor: tuple[str, str]) -> None:
        self.messages.append(("kicked", user_id, conn_id, node, *successor))

    def handed_over(self, user_id: int) -> None:
        self.messages.append(("handed_over", user_id))

    def arrival_asked(self, user_id: int, node: str) -> None:
        self.messages.append(("arrival_asked", user_id, node))

    def arrived(self, user_id: int) -> None:
        self.messages.append(("arrived", user_id))

    def node_died(self, user_id: int) -> None:
        self.messages.append(("node_died", user_id))

    def groups_heard(self, group_ids: Sequence[str]) -> None:
        self.groups.update(group_ids)

    def groups_unheard(self, group_ids: Sequence[str]) -> None:
        self.groups.difference_update(group_ids)

    def ordered(self, what: str, about: bytes) -> bytes:
        self.messages.append(("ordered", what, about))
        return b'{"done":true}'


class Listener:
    """A node's bus; `subscribed` counts its subscriptions."""

    def __init__(self, pipeline: Pipeline, client: Redis, node: str) -> None:
        self.heard = Heard()
        self.subscribed = 0
        self.bus = RedisBus(pipeline, client, node)

        def on_ready() -> None:
            self.subscribed += 1

        self.running = asyncio.create_task(self.bus.run(self.heard, on_ready))


@asynccontextmanager
async def listening(
    server: Server, node: str, client: Redis | None = None
) -> AsyncIterator[Listener]:
    """Run a bus; over another way to Redis if `client` is given."""
    async with pipelined(server) as pipeline, connected(server) as own:
        listener = Listener(pipeline, client or own, node)
        try:
            await until(listener.bus.ready.is_set)
            yield listener
        finally:
            await cancel_and_wait(listener.running)


@pytest.mark.gen_test
async def test_what_is_said_to_others_arrives_once_and_not_at_oneself(server: Server) -> None:
    async with listening(server, "east") as east, listening(server, "west") as west:
        async with connected(server) as redis:
            await redis.set(session_key(1), "west c1")
            await redis.set(session_key(2), "clean")
        west.bus.hear_groups(["g"])
        await until(lambda: west.heard.groups == {"g"})
        east.bus.to_user(1, b"one")
        east.bus.to_user(1, b"typing", ephemeral=True)
        east.bus.to_user(2, b"to nobody")
        east.bus.ack(1, ["m-1", "m-2"], "delivered")
        message = GroupFrame(b"group", sender_id=9, seq=3, id=33, repeat=True)
        event = GroupFrame(b"event", except_ids=frozenset({4, 5}))
        typing = GroupFrame(b"typing", sender_id=9, ephemeral=True)
        east.bus.to_group("g", message)
        east.bus.to_group("nobody here", message)
        east.bus.to_group("g", event)
        east.bus.to_group("g", typing)
        east.bus.catch_up(1)
        assert await east.bus.kick("west", 1, "c1", ("c2", "10.0.0.2"))
        east.bus.handed_over("west", 1)
        assert await east.bus.ask_arrived(1)
        assert not await east.bus.ask_arrived(2)
        east.bus.arrived("west", 7)
        expected: list[tuple[object, ...]] = [
            ("frame", [1], b"one", False),
            ("frame", [1], b"typing", True),
            ("acked", 1, ["m-1", "m-2"], "delivered"),
            ("group", "g", message),
            ("group", "g", event),
            ("group", "g", typing),
            ("node_died", 1),
            ("kicked", 1, "c1", "east", "c2", "10.0.0.2"),
            ("handed_over", 1),
            ("arrival_asked", 1, "east"),
            ("arrived", 7),
        ]
        await until(lambda: len(west.heard.messages) >= len(expected))
        assert west.heard.messages == expected
        assert east.heard.messages == []


@pytest.mark.gen_test
async def test_a_kick_says_whether_anybody_listens(server: Server) -> None:
    async with listening(server, "east") as east:
        assert not await east.bus.kick("dead", 1, "c1", ("c2", "10.0.0.2"))


@pytest.mark.gen_test
async def test_a_message_that_cannot_be_read_is_logged_and_the_next_one_is_heard(
    server: Server,
) -> None:
    async with listening(server, "east") as east, connected(server) as redis:
        with capture_logs() as logs:
            await redis.publish(node_channel("east"), b"not a message")
            await redis.publish(BROADCAST, b"")
            await east.bus.kick("east", 1, "c1", ("c2", "10.0.0.2"))
            await until(lambda: east.heard.messages)
        assert east.heard.messages == [("kicked", 1, "c1", "east", "c2", "10.0.0.2")]
        assert [
            (line["event"], line["channel"]) for line in logs if line["log_level"] == "warning"
        ] == [
            ("bus_message_unreadable", "ws:node:east"),
            ("bus_message_unreadable", "ws:broadcast"),
        ]
        assert east.subscribed == 1


@pytest.mark.gen_test
async def test_a_fault_with_one_message_is_logged_as_such_and_the_next_one_is_heard(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_: Heard, user_id: int) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Heard, "node_died", fault)
    async with listening(server, "east") as east, connected(server) as redis:
        await redis.set(session_key(1), "east c1")
        with capture_logs() as logs:
            east.bus.catch_up(1)
            await east.bus.kick("east", 1, "c1", ("c2", "10.0.0.2"))
            await until(lambda: east.heard.messages)
        assert east.heard.messages == [("kicked", 1, "c1", "east", "c2", "10.0.0.2")]
        [failed] = [line for line in logs if line["log_level"] in ("warning", "error")]
        assert (failed["event"], failed["kind"]) == ("bus_message_failed", "NodeDied")
        assert failed["exc_info"]
        assert east.subscribed == 1


@pytest.mark.gen_test
async def test_a_subscription_that_is_cut_is_made_anew(server: Server) -> None:
    async with listening(server, "east") as east, connected(server) as redis:
        with capture_logs() as logs:
            await redis.client_kill_filter(_type="pubsub")
            await until(lambda: east.subscribed == 2)
        assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["bus_lost"]
        assert await east.bus.kick("east", 1, "c1", ("c2", "10.0.0.2"))
        await until(lambda: east.heard.messages)


@pytest.mark.gen_test
async def test_a_node_is_deaf_while_redis_is_there_and_the_subscription_is_not(
    server: Server, tmp_path: Path
) -> None:
    async with (
        tunnel(server, tmp_path) as way,
        connect_through(way) as client,
        listening(server, "east", client) as east,
    ):
        assert not east.bus.not_subscribed
        way.close()
        await until(lambda: east.bus.not_subscribed)
        await way.open()
        await until(lambda: east.subscribed == 2)
        assert not east.bus.not_subscribed


class Tunnel:
    """A way to Redis that can fall silent: connections stay open, and nothing comes through."""

    def __init__(self, target: Path, folder: Path) -> None:
        self.path = folder / "tunnel"
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._ways: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self.path)

    def fall_silent(self) -> None:
        """Forward nothing more on the connections that are open; new ones work."""
        for way in self._ways:
            way.cancel()

    def close(self) -> None:
        """End all connections, and take no new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.fall_silent()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_unix_connection(self._target)
        self._writers += [writer, redis_writer]
        for source, sink in ((reader, redis_writer), (redis_reader, writer)):
            way = asyncio.create_task(_forward(source, sink))
            self._ways.add(way)
            way.add_done_callback(self._ways.discard)


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
    sink.close()


@asynccontextmanager
async def tunnel(server: Server, folder: Path) -> AsyncIterator[Tunnel]:
    way = Tunnel(server.socket, folder)
    await way.open()
    try:
        yield way
    finally:
        way.close()


@asynccontextmanager
async def connect_through(way: Tunnel) -> AsyncIterator[Redis]:
    client = client_at(way.path)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.mark.gen_test
async def test_a_subscription_that_dies_without_a_word_is_noticed_and_made_anew(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "PROBE_INTERVAL", 0.1)
    monkeypatch.setattr(listener_module, "PROBE_PATIENCE", 0.2)
    async with (
        tunnel(server, tmp_path) as way,
        connect_through(way) as client,
        listening(server, "east", client) as east,
    ):
        with capture_logs() as logs:
            way.fall_silent()
            await until(lambda: east.subscribed == 2)
        lost = [line for line in logs if line["event"] == "bus_lost"]
        assert [line["error"] for line in lost] == ["TimeoutError"]
        assert await east.bus.kick("east", 1, "c1", ("c2", "10.0.0.2"))
        await until(lambda: east.heard.messages)


@pytest.mark.gen_test
async def test_a_quiet_subscription_is_kept_while_its_probes_come_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "PROBE_INTERVAL", 0.02)
    async with listening(server, "east") as east, connected(server) as redis:
        async with redis.pubsub() as probes:
            await probes.subscribe(node_channel("east"))
            for _ in range(4):
                await probes.get_message(timeout=10)
        assert east.subscribed == 1


def test_a_dead_subscription_is_noticed_within_ten_seconds() -> None:
    assert listener_module.PROBE_INTERVAL + listener_module.PROBE_PATIENCE < 10
