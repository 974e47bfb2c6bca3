"""The timer wheel against a plain list: whose time has come is taken out once, nobody else."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skyeim_ws.conn.timer_wheel import TimerWheel


@dataclass(eq=False)
class Checked:
    """What the timer wheel asks of a client."""

    next_check: float


class Times(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.timer_wheel: TimerWheel[Checked] = TimerWheel()
        self.entered: list[Checked] = []
        self.gone: list[Checked] = []
        self.now = 0.0

    @rule(ahead=st.floats(0, 100))
    def add(self, ahead: float) -> None:
        client = Checked(self.now + ahead)
        self.entered.append(client)
        self.timer_wheel.add(client)

    @rule(seconds=st.floats(0, 60), most=st.integers(1, 10))
    def take(self, seconds: float, most: int) -> None:
        self.now += seconds
        taken = self.timer_wheel.take(self.now, most)
        due = [client for client in self.entered if client.next_check <= self.now]
        assert len(taken) == min(most, len(due))
        assert set(taken) <= set(due)
        self.entered = [client for client in self.entered if client not in taken]
        self.gone += taken

    @rule(choice=st.data())
    def discard(self, choice: st.DataObject) -> None:
        """Also one that was taken, or never there."""
        some = choice.draw(st.sampled_from([*self.entered, *self.gone, Checked(self.now)]))
        self.timer_wheel.discard(some)
        self.entered = [client for client in self.entered if client is not some]

    @invariant()
    def counts(self) -> None:
        assert len(self.timer_wheel) == len(self.entered)


TestTimes = Times.TestCase
