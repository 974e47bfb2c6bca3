"""Items leave in the order of their seq, each once; nothing waits longer than it is told to."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from skyeim_ws.conn.seq_order import SeqOrder, Verdict

groups = st.sampled_from(["a", "b", "c"])

JUMP = 100


class Order(RuleBasedStateMachine):
    """Against the definition: let through what follows the last one, hold what does not."""

    def __init__(self) -> None:
        super().__init__()
        self.order: SeqOrder[str] = SeqOrder(capacity=3, max_jump=JUMP)
        self.last: dict[str, int] = {}
        self.held: dict[str, set[int]] = {"a": set(), "b": set(), "c": set()}

    @rule(group=groups, seq=st.integers(1, 12))
    def come(self, group: str, seq: int) -> None:
        passed = self.order.admit(group, seq, seq, f"{group}{seq}")
        last = self.last.setdefault(group, seq - 1)
        if seq <= last:
            assert passed is None
            return
        self.held[group].add(seq)
        following = []
        while last + 1 in self.held[group]:
            last += 1
            self.held[group].remove(last)
            following.append(f"{group}{last}")
        self.last[group] = last
        assert passed == following

    @rule(group=groups)
    def give_up(self, group: str) -> None:
        held, self.held[group] = sorted(self.held[group]), set()
        assert self.order.give_up(group) == [f"{group}{seq}" for seq in held]
        if held:
            self.last[group] = held[-1]

    @rule(group=groups, seq=st.integers(1, 12))
    def skip(self, group: str, seq: int) -> None:
        """Go on behind a seq that the members were told of; nothing held is lost."""
        last = self.last.get(group)
        passed = self.order.skip(group, seq)
        if last is None or seq <= last:
            assert passed == []
            return
        free = sorted(each for each in self.held[group] if each <= seq)
        while seq + 1 in self.held[group]:
            seq += 1
            free.append(seq)
        self.held[group].difference_update(free)
        self.last[group] = seq
        assert passed == [f"{group}{each}" for each in free]

    @invariant()
    def counts_what_waits(self) -> None:
        assert {group: self.order.held(group) for group in self.held} == {
            group: len(held) for group, held in self.held.items()
        }


TestOrder = Order.TestCase
TestOrder.settings = settings(max_examples=100, stateful_step_count=30)


class SetBack(RuleBasedStateMachine):
    """A service whose counter is set back now and then, on one node that hears of everything.

    Whatever is stored is shown at once, and a repeat never, unless its seq comes only now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.order: SeqOrder[tuple[int, int]] = SeqOrder(capacity=1, max_jump=JUMP)
        self.seq = 0
        self.stored: list[tuple[int, int]] = []
        self.shown: list[tuple[int, int]] = []

    @rule()
    def send(self) -> None:
        self.seq += 1
        newest = (self.seq, len(self.stored) + 1)
        self.stored.append(newest)
        self.come(*newest)
        assert self.shown[-1] == newest

    @rule(by=st.integers(1, 2 * JUMP))
    def set_back(self, by: int) -> None:
        self.seq = max(0, self.seq - by)

    @precondition(lambda self: any(seq <= self.seq for seq, _ in self.stored))
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        before = list(self.shown)
        self.come(
            *data.draw(st.sampled_from([each for each in self.stored if each[0] <= self.seq]))
        )
        assert self.shown == before

    def come(self, seq: int, message_id: int) -> None:
        item = (seq, message_id)
        passed = self.order.admit("g", seq, message_id, item)
        if passed is None:
            verdict = self.order.judge("g", seq, message_id, self.stored)
            assert verdict in (Verdict.LATE, Verdict.ANEW)
            if verdict is Verdict.LATE:
                return
            assert self.order.restart("g", seq, message_id) == []
            passed = self.order.admit("g", seq, message_id, item)
        assert passed == [item]
        self.shown += passed


TestSetBack = SetBack.TestCase
TestSetBack.settings = settings(max_examples=100, stateful_step_count=30)


def order_of(*seqs: int, capacity: int = 1) -> SeqOrder[str]:
    """Return an order of group g that these were let through in; their ids are ten times that."""
    order: SeqOrder[str] = SeqOrder(capacity, max_jump=10)
    for seq in seqs:
        assert order.admit("g", seq, seq * 10, "") == [""]
    return order


def test_a_group_begins_with_what_is_seen_of_it_first() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=3, max_jump=100)
    assert order.admit("g", 41, 1, "x") == ["x"]
    assert order.admit("g", 40, 2, "late") is None
    assert order.admit("g", 42, 3, "y") == ["y"]


def test_the_group_that_was_quiet_longest_is_forgotten_first() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=2, max_jump=100)
    for group in ("a", "b", "a", "c"):
        order.admit(group, 10 + (group == "a"), 1, group)
    assert order.admit("b", 5, 1, "anew") == ["anew"]
    assert order.admit("c", 5, 1, "late") is None


def test_a_group_with_items_that_wait_is_not_forgotten() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=1, max_jump=100)
    order.admit("a", 1, 1, "a1")
    order.admit("a", 3, 3, "a3")
    order.admit("b", 1, 4, "b1")
    assert order.held("a") == 1
    assert order.admit("a", 2, 2, "a2") == ["a2", "a3"]


def test_a_seq_that_is_far_away_is_not_believed_and_changes_nothing() -> None:
    order = order_of(100)
    assert order.admit("g", 111, 1, "too far") is None
    assert order.admit("g", 89, 2, "too late") is None
    assert order.admit("g", 110, 3, "held") == []
    assert order.admit("g", 101, 4, "next") == ["next"]
    assert (order.last("g"), order.held("g")) == (101, 1)


def test_what_is_not_stored_is_believed_nowhere() -> None:
    order = order_of(5)
    stored = [(5, 50), (900, 51), (1, 52)]
    for seq, message_id in ((900, 7), (901, 51), (1, 53)):
        assert order.judge("g", seq, message_id, stored) is Verdict.NOT_STORED
    assert order.judge("g", 900, 51, stored) is Verdict.AHEAD


def test_a_lower_seq_begins_a_new_order_if_it_was_given_before_and_is_newer_than_all() -> None:
    order = order_of(4, 5, 6)
    stored = [(3, 30), (4, 40), (5, 50), (6, 60)]
    assert order.judge("g", 4, 70, [*stored, (4, 70)]) is Verdict.ANEW
    # Counted before the last one, stored after it.
    assert order.judge("g", 2, 70, [*stored, (2, 70)]) is Verdict.LATE
    # Not newer than all.
    assert order.judge("g", 4, 45, [*stored, (4, 45)]) is Verdict.LATE
    assert order.judge("g", 4, 40, stored) is Verdict.LATE


def test_what_went_through_last_is_not_stored_any_more_so_a_new_order_has_begun() -> None:
    order = order_of(4, 5, 6)
    stored = [(3, 30), (4, 40), (5, 41)]
    assert order.judge("g", 5, 41, stored) is Verdict.ANEW
    order.restart("g", 5, 41)
    assert order.admit("g", 5, 41, "x") == ["x"]
    # Ids have begun again, too: the next restart is seen by them.
    assert order.judge("g", 4, 42, [*stored, (4, 42)]) is Verdict.ANEW


def test_an_order_that_is_restarted_gives_back_what_it_held() -> None:
    order = order_of(100)
    order.admit("g", 103, 1030, "second")
    order.admit("g", 102, 1020, "first")
    assert order.restart("g", 5, 2000) == ["first", "second"]
    assert (order.last("g"), order.held("g")) == (4, 0)
    assert order.admit("g", 5, 2000, "anew") == ["anew"]


def test_a_group_that_was_forgotten_meanwhile_begins_with_what_was_looked_up() -> None:
    order = order_of(100)
    order.admit("h", 1, 1, "")
    assert order.judge("g", 5, 50, [(5, 50)]) is Verdict.AHEAD
    assert order.restart("g", 5, 50) == []
    assert order.admit("g", 5, 50, "x") == ["x"]
