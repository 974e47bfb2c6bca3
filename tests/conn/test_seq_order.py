"""Items leave in the order of their seq, each once; nothing waits longer than it is told to."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skyeim_ws.conn.seq_order import SeqOrder

groups = st.sampled_from(["a", "b", "c"])


class Order(RuleBasedStateMachine):
    """Against the definition: let through what follows the last one, hold what does not."""

    def __init__(self) -> None:
        super().__init__()
        self.order: SeqOrder[str] = SeqOrder(capacity=3, max_jump=100)
        self.last: dict[str, int] = {}
        self.held: dict[str, set[int]] = {"a": set(), "b": set(), "c": set()}

    @rule(group=groups, seq=st.integers(1, 12))
    def come(self, group: str, seq: int) -> None:
        passed = self.order.admit(group, seq, f"{group}{seq}")
        last = self.last.setdefault(group, seq - 1)
        if seq > last:
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

    @invariant()
    def counts_what_waits(self) -> None:
        assert {group: self.order.held(group) for group in self.held} == {
            group: len(held) for group, held in self.held.items()
        }


TestOrder = Order.TestCase
TestOrder.settings = settings(max_examples=100, stateful_step_count=30)


def test_a_group_begins_with_what_is_seen_of_it_first() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=3, max_jump=100)
    assert order.admit("g", 41, "x") == ["x"]
    assert order.admit("g", 40, "late") == []
    assert order.admit("g", 42, "y") == ["y"]


def test_the_group_that_was_quiet_longest_is_forgotten_first() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=2, max_jump=100)
    for group in ("a", "b", "a", "c"):
        order.admit(group, 10, group)
    assert order.admit("b", 5, "anew") == ["anew"]
    assert order.admit("c", 5, "late") == []


def test_a_group_with_items_that_wait_is_not_forgotten() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=1, max_jump=100)
    order.admit("a", 1, "a1")
    order.admit("a", 3, "a3")
    order.admit("b", 1, "b1")
    assert order.held("a") == 1
    assert order.admit("a", 2, "a2") == ["a2", "a3"]


def test_a_seq_that_is_far_away_is_not_believed_and_changes_nothing() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=3, max_jump=10)
    assert order.admit("g", 100, "first") == ["first"]
    assert order.admit("g", 111, "too far") is None
    assert order.admit("g", 89, "too late") is None
    assert order.admit("g", 110, "held") == []
    assert order.admit("g", 90, "late") == []
    assert order.admit("g", 101, "next") == ["next"]
    assert (order.last("g"), order.held("g")) == (101, 1)


def test_an_order_that_is_restarted_goes_on_there_with_nothing_held() -> None:
    order: SeqOrder[str] = SeqOrder(capacity=1, max_jump=10)
    order.admit("g", 100, "first")
    order.admit("g", 102, "held")
    order.restart("g", 4)
    assert (order.last("g"), order.held("g")) == (4, 0)
    assert order.admit("g", 5, "anew") == ["anew"]
    order.restart("h", 1)
    assert (order.last("g"), order.last("h")) == (0, 1)
