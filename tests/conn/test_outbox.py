"""The outbox against a model: order, bounds, shedding."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skyeim_ws.conn.outbox import Outbox, Put

MAX_FRAMES = 8
MAX_BYTES = 100

frames = st.binary(min_size=1, max_size=40)


class OutboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(MAX_FRAMES, MAX_BYTES)
        self.model: list[bytes] = []
        self.behind: dict[str, int] = {}
        self.seq = 0

    def fits(self, frame: bytes) -> bool:
        size = sum(map(len, self.model))
        return not self.model or (len(self.model) < MAX_FRAMES and size + len(frame) <= MAX_BYTES)

    @rule(frame=frames)
    def put(self, frame: bytes) -> None:
        expected = Put.ACCEPTED if self.fits(frame) else Put.OVERFLOW
        assert self.outbox.put(frame) is expected
        if expected is Put.ACCEPTED:
            self.model.append(frame)

    @rule(frame=frames)
    def offer(self, frame: bytes) -> None:
        half = 2 * len(self.model) >= MAX_FRAMES or 2 * sum(map(len, self.model)) >= MAX_BYTES
        answer = self.outbox.offer(frame)
        if half:
            assert answer is Put.SHED
        elif answer is Put.ACCEPTED:
            self.model.append(frame)

    @rule(opening=st.lists(frames, max_size=3))
    def prepend(self, opening: list[bytes]) -> None:
        self.outbox.prepend(opening)
        self.model[:0] = opening

    @rule(limit=st.integers(1, 200))
    def take(self, limit: int) -> None:
        if not self.model:
            return
        data = self.outbox.take(limit)
        taken = 0
        while taken < len(data):
            taken += len(self.model.pop(0))
        assert taken == len(data)
        assert data
        if self.model:
            assert len(data) + len(self.model[0]) > limit

    @rule(frame=frames, group_id=st.sampled_from("gh"))
    def put_group(self, frame: bytes, group_id: str) -> None:
        """A message of a group never takes the second half, nor overtakes a hint of its group."""
        self.seq += 1
        folds = group_id in self.behind or self.outbox.crowded
        answer = self.outbox.put_group(frame, group_id, self.seq)
        assert (answer is Put.FOLDED) is folds
        if folds:
            self.behind[group_id] = self.seq
        elif answer is Put.ACCEPTED:
            self.model.append(frame)

    @rule()
    def take_behind(self) -> None:
        if not self.model:
            assert self.outbox.take_behind() == self.behind
            self.behind = {}

    @rule()
    def clear(self) -> None:
        self.outbox.clear()
        self.model.clear()
        self.behind.clear()

    @invariant()
    def counts_are_right(self) -> None:
        assert len(self.outbox) == len(self.model)
        assert self.outbox.size == sum(map(len, self.model))


TestOutbox = OutboxMachine.TestCase


@given(items=st.lists(frames, min_size=1, max_size=MAX_FRAMES))
def test_frames_that_meet_leave_together_in_order(items: list[bytes]) -> None:
    outbox = Outbox(MAX_FRAMES, 10_000)
    for item in items:
        assert outbox.put(item) is Put.ACCEPTED
    assert outbox.take(10_000) == b"".join(items)


def test_groups_and_what_nobody_misses_get_little_room_however_large_the_outbox() -> None:
    """What waits of them stands before a private message."""
    outbox = Outbox(1_000, 10_000_000)
    assert outbox.put_group(bytes(20_000), "g", 1) is Put.ACCEPTED
    assert outbox.put_group(b"x", "g", 2) is Put.FOLDED
    assert outbox.put_group(b"x", "h", 1) is Put.FOLDED
    assert outbox.offer(b"x") is Put.SHED
    assert outbox.put(b"private") is Put.ACCEPTED
    assert not outbox.half_full


def test_an_empty_outbox_takes_a_frame_of_any_size() -> None:
    """Otherwise a bound below the largest message would make it undeliverable."""
    outbox = Outbox(1, 1)
    assert outbox.put(b"larger") is Put.ACCEPTED
    assert outbox.put(b"x") is Put.OVERFLOW
