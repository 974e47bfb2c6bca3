"""Group routing: order per group, isolation between groups, bounded queues."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.messages import hint_frames
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.group_frame import GroupFrame
from tests.waiting import until

PAGE = 5
"""So many messages storage shows at a time."""


def behind(seq: int) -> bytes:
    """Return the frame that says up to where members are behind."""
    return hint_frames({"g": seq})[0]


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
        self.stored: list[tuple[int, int]] | None = []
        self.checked: list[int] = []
        self.router = GroupRouter(
            self.hub,
            self.source,
            self.stored_from,
            self.stats,
            queue_size=queue_size,
            max_groups=max_groups,
            max_jump=10,
        )

    async def stored_from(
        self, group_id: str, asker_id: int, seq: int
    ) -> list[tuple[int, int]] | None:
        assert (group_id, asker_id) == ("g", 9)
        self.checked.append(seq)
        await asyncio.sleep(0)
        if self.stored is None:
            return None
        return sorted(each for each in self.stored if each[0] >= seq)[:PAGE]

    def store(self, *seqs: int, first_id: int = 0) -> None:
        """Put messages into storage; their ids are their seqs, or follow the one that is named."""
        assert self.stored is not None
        ids = range(first_id, first_id + len(seqs)) if first_id else seqs
        self.stored += zip(seqs, ids, strict=True)

    def come(self, *seqs: int, first_id: int = 0, repeat: bool = False) -> None:
        """Have messages of user 9 come for group g, with ids as in `store`."""
        for number, seq in enumerate(seqs):
            message_id = first_id + number if first_id else seq
            item = GroupFrame(b"%d" % seq, sender_id=9, seq=seq, id=message_id, repeat=repeat)
            assert self.router.publish("g", item)

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
    world.come(1_000_000)
    world.come(3)
    await world.settle()
    world.come(4)
    assert world.frames(1) == [b"1", b"2", b"3", b"4"]
    assert (world.checked, world.stats.group_seqs_refused) == ([1_000_000], 1)


@pytest.mark.gen_test
async def test_a_seq_that_was_seen_first_and_is_not_stored_stops_no_message() -> None:
    world = World()
    world.source.warm.add("g")
    world.come(1_000_000)
    world.store(3, 4, 5)
    world.come(4, 5)
    await world.settle()
    world.come(6)
    assert world.frames(1) == [b"1000000", behind(3), b"4", b"5", b"6"]
    assert world.stats.group_seqs_refused == 0


@pytest.mark.gen_test
async def test_a_jump_is_believed_when_it_is_stored_and_what_was_held_goes_first() -> None:
    world = World(queue_size=10)
    world.source.warm.add("g")
    world.come(1, 3)  # 2 is missing
    world.store(500, 501)
    world.come(501, 500)
    world.come(4)
    await world.settle()
    world.come(502, 4, repeat=True)
    await world.settle()
    assert world.frames(1) == [b"1", b"3", b"4", b"500", b"501", b"502"]


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


@pytest.mark.gen_test
@pytest.mark.parametrize("back_to", [1, 8, 10])
async def test_messages_go_on_when_the_counter_of_a_group_was_set_back(back_to: int) -> None:
    """Members are told once from where it counts anew."""
    world = World(queue_size=10)
    world.source.warm.add("g")
    world.store(*range(1, 12))
    world.come(*range(7, 12))
    world.store(back_to, back_to + 1, first_id=12)
    world.come(back_to + 1, first_id=13)
    world.come(back_to, first_id=12)
    await world.settle()
    world.come(back_to + 2, first_id=14)
    anew = [b"%d" % (back_to + number) for number in range(3)]
    assert world.frames(1) == [b"7", b"8", b"9", b"10", b"11", behind(back_to - 1), *anew]


@pytest.mark.gen_test
async def test_messages_go_on_when_the_database_comes_from_a_backup() -> None:
    """Then ids begin again as well, and what came last is not there."""
    world = World(queue_size=10)
    world.source.warm.add("g")
    world.come(8, 9, 10)
    world.store(7, 8, 9)
    world.come(8, 9)
    await world.settle()
    world.come(10)
    # And once more, which only the ids can tell now.
    world.store(10)
    world.store(9, first_id=11)
    world.come(9, first_id=11)
    await world.settle()
    expected = [b"8", b"9", b"10", behind(7), b"8", b"9", b"10", behind(8), b"9"]
    assert world.frames(1) == expected


@pytest.mark.gen_test
async def test_what_is_late_or_comes_again_is_dropped_and_only_what_is_new_looked_up() -> None:
    world = World(queue_size=10)
    world.source.warm.add("g")
    world.store(1, 2, 3, *range(5, PAGE + 20))
    world.come(PAGE + 5, PAGE + 6)
    world.come(PAGE + 5, PAGE + 6, 2, repeat=True)
    assert world.checked == []
    # A service that counts before it stores gives a lower seq to what it stores later.
    world.store(4, first_id=PAGE + 30)
    world.come(4, first_id=PAGE + 30)
    world.come(3, PAGE + 5)
    await world.settle()
    assert world.frames(1) == [b"%d" % (PAGE + 5), b"%d" % (PAGE + 6)]
    assert world.stats.group_seqs_refused == 0
