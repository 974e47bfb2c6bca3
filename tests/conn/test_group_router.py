"""Group routing: order per group, isolation between groups, bounded queues."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.group_router import GroupFrame, GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.stats import Stats
from tests.waiting import until


class Receiver:
    """What the hub asks of a client, and nothing more."""

    direct = None

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)

    offer = send

    def send_group(self, frame: bytes, _group_id: str, _seq: int) -> None:
        self.frames.append(frame)


class Source:
    """Members whose look-up waits until the test lets it go on."""

    def __init__(self, members: frozenset[int]) -> None:
        self.known = members
        self.warm: set[str] = set()
        self.gates: dict[str, asyncio.Event] = {}
        self.failures = 0
        self.asked: list[tuple[str, list[int]]] = []

    def cached(self, group_id: str) -> frozenset[int] | None:
        return self.known if group_id in self.warm else None

    async def find(self, group_id: str, asker_ids: Sequence[int]) -> frozenset[int] | None:
        self.asked.append((group_id, list(asker_ids)))
        if gate := self.gates.get(group_id):
            await gate.wait()
        if self.failures:
            self.failures -= 1
            return None
        return self.known


class World:
    def __init__(self, *, queue_size: int = 4, max_groups: int = 100) -> None:
        self.stats = Stats()
        self.flusher = Flusher(asyncio.get_running_loop().call_soon, self.stats)
        self.hub = Hub(self.flusher)
        self.receivers = {user_id: Receiver(user_id) for user_id in (1, 2, 3)}
        for receiver in self.receivers.values():
            self.hub.register(cast(Client, receiver))
        self.source = Source(frozenset({1, 2, 9}))
        self.stored: int | None = 0
        self.checked: list[tuple[str, int]] = []
        self.router = GroupRouter(
            self.hub,
            self.source,
            self.newest_seq,
            self.stats,
            queue_size=queue_size,
            max_groups=max_groups,
            max_jump=10,
        )

    async def newest_seq(self, group_id: str, asker_id: int) -> int | None:
        self.checked.append((group_id, asker_id))
        await asyncio.sleep(0)
        return self.stored

    def come(self, *seqs: int) -> None:
        """Have messages of user 9 come for group g."""
        for seq in seqs:
            assert self.router.publish("g", GroupFrame(b"%d" % seq, sender_id=9, seq=seq))

    async def settle(self) -> None:
        await until(lambda: not len(self.router))

    def frames(self, user_id: int) -> list[bytes]:
        self.flusher.flush()
        return self.receivers[user_id].frames


@pytest.mark.gen_test
async def test_a_warm_group_is_routed_at_once_to_members_but_not_to_the_sender() -> None:
    world = World()
    world.source.warm.add("g")
    assert world.router.publish("g", GroupFrame(b"x", sender_id=1))
    assert (world.frames(1), world.frames(2), world.frames(3)) == ([], [b"x"], [])
    assert len(world.router) == 0


@pytest.mark.gen_test
async def test_frames_of_a_cold_group_keep_their_order() -> None:
    world = World()
    gate = world.source.gates["g"] = asyncio.Event()
    for number in range(3):
        assert world.router.publish("g", GroupFrame(b"%d" % number))
    await asyncio.sleep(0)
    # The group became known while its worker waits: what comes now must not overtake.
    world.source.warm.add("g")
    assert world.router.publish("g", GroupFrame(b"3"))
    assert world.frames(1) == []
    gate.set()
    await world.settle()
    assert world.frames(1) == [b"0", b"1", b"2", b"3"]


@pytest.mark.gen_test
async def test_a_group_that_hangs_delays_no_other() -> None:
    world = World()
    world.source.gates["slow"] = asyncio.Event()
    assert world.router.publish("slow", GroupFrame(b"s"))
    assert world.router.publish("quick", GroupFrame(b"q"))
    await until(lambda: bool(world.frames(1)))
    assert world.frames(1) == [b"q"]
    await world.router.close()
    assert len(world.router) == 0


@pytest.mark.gen_test
async def test_reservations_count_until_they_are_used_or_given_back() -> None:
    world = World(queue_size=2)
    world.source.gates["g"] = gate = asyncio.Event()
    assert world.router.reserve("g")
    assert world.router.reserve("g")
    assert not world.router.reserve("g")
    assert not world.router.publish("g", GroupFrame(b"no place"))
    world.router.release("g")
    world.router.route("g", GroupFrame(b"a"))
    assert world.router.reserve("g")
    assert not world.router.reserve("g")
    world.router.route("g", GroupFrame(b"b"))
    assert world.router.queued == 2
    gate.set()
    await world.settle()
    assert world.frames(1) == [b"a", b"b"]


@pytest.mark.gen_test
async def test_ephemeral_frames_are_for_members_and_shed_first() -> None:
    world = World(queue_size=4)
    gate = world.source.gates["g"] = asyncio.Event()

    def typing(sender_id: int) -> GroupFrame:
        return GroupFrame(b"typing", sender_id, ephemeral=True)

    assert world.router.publish("g", typing(3))
    assert world.router.publish("g", typing(1))
    assert not world.router.publish("g", typing(1))
    assert world.router.publish("g", GroupFrame(b"message", 1))
    gate.set()
    await world.settle()
    assert world.frames(2) == [b"typing", b"message"]


@pytest.mark.gen_test
async def test_a_frame_whose_members_are_not_to_be_had_is_dropped_and_the_next_asks_again() -> None:
    world = World()
    world.source.failures = 1
    assert world.router.publish("g", GroupFrame(b"lost", sender_id=2))
    assert world.router.publish("g", GroupFrame(b"kept", sender_id=2))
    await world.settle()
    assert world.frames(1) == [b"kept"]
    assert world.stats.group_dropped == 1
    assert world.source.asked == [("g", [2])] * 2


@pytest.mark.gen_test
async def test_members_are_asked_for_as_who_has_sent_a_message_before_who_is_typing() -> None:
    world = World(queue_size=40)
    world.source.gates["g"] = gate = asyncio.Event()
    for sender_id in range(10, 30):
        typing = GroupFrame(b"typing", sender_id, ephemeral=True)
        world.router.publish("g", typing)
    assert world.router.publish("g", GroupFrame(b"event"))
    assert world.router.publish("g", GroupFrame(b"a", sender_id=1, seq=5))
    assert world.router.publish("g", GroupFrame(b"b", sender_id=1, seq=6))
    gate.set()
    await world.settle()
    [(_, askers), *_] = world.source.asked
    assert askers == [1, 0, *range(10, 16)]


@pytest.mark.gen_test
async def test_there_are_no_more_active_groups_than_may_be() -> None:
    world = World(max_groups=2)
    gate = world.source.gates["g"] = asyncio.Event()
    assert world.router.publish("g", GroupFrame(b"x"))
    assert world.router.reserve("h")
    assert not world.router.reserve("i")
    assert not world.router.publish("i", GroupFrame(b"x"))
    assert (len(world.router), world.stats.groups_refused) == (2, 2)
    # Those who are active go on, and make room at their end.
    assert world.router.publish("g", GroupFrame(b"y"))
    world.router.release("h")
    assert world.router.reserve("i")
    world.router.release("i")
    gate.set()
    await world.settle()
    assert world.frames(1) == [b"x", b"y"]


@pytest.mark.gen_test
async def test_a_seq_that_nothing_stored_has_stops_no_message() -> None:
    world = World()
    world.source.warm.add("g")
    world.come(1, 2)
    world.stored = 3
    world.come(1_000_000)
    world.come(3)
    await world.settle()
    world.come(4)
    assert world.frames(1) == [b"1", b"2", b"3", b"4"]
    assert (world.checked, world.stats.group_seqs_refused) == ([("g", 9)], 1)


@pytest.mark.gen_test
async def test_a_seq_that_was_seen_first_and_is_not_stored_stops_no_message() -> None:
    world = World()
    world.source.warm.add("g")
    world.come(1_000_000)
    world.stored = 5
    world.come(4, 5)
    await world.settle()
    world.come(6)
    assert world.frames(1) == [b"1000000", b"4", b"5", b"6"]
    assert world.stats.group_seqs_refused == 0


@pytest.mark.gen_test
async def test_a_jump_is_believed_when_it_is_stored_and_what_was_held_goes_first() -> None:
    world = World(queue_size=10)
    world.source.warm.add("g")
    world.come(1, 3)  # 2 is missing
    world.stored = 501
    world.come(501, 500)
    world.come(4)
    await world.settle()
    world.stored = 502
    world.come(502, 4)
    await world.settle()
    assert world.frames(1) == [b"1", b"3", b"4", b"500", b"501", b"502"]
    assert world.checked[0] == ("g", 9)


@pytest.mark.gen_test
async def test_a_jump_is_not_believed_while_what_is_stored_is_unknown() -> None:
    world = World()
    world.source.warm.add("g")
    world.come(1)
    world.stored = None
    world.come(500)
    await world.settle()
    assert world.stats.group_seqs_refused == 1
    world.come(2)
    assert world.frames(1) == [b"1", b"2"]


@pytest.mark.gen_test
async def test_what_is_doubted_counts_as_waiting() -> None:
    world = World(queue_size=2)
    world.source.warm.add("g")
    world.come(1)
    world.come(500, 501)
    assert not world.router.publish("g", GroupFrame(b"x"))
    await world.router.close()
    assert len(world.router) == 0
