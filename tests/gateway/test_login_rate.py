"""How many logins a node can take: what is configured, until more come than it takes."""

from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.login_rate import LoginRate


class Node:
    """A node that is looked at each half second."""

    def __init__(self, configured: float = 200) -> None:
        self.stats = Stats()
        self.rate = LoginRate(self.stats, configured)
        self.now = self.cpu = 0.0
        self.rate.look(0.0, 0.0)

    def half_second(self, *, begun: int, done: int, cpu: float = 0.5) -> float:
        """Let logins begin and be done; return the rate."""
        self.stats.connections_opened += begun
        for _ in range(done):
            self.stats.timings.note("slow_login", 0.1)
        self.now, self.cpu = self.now + 0.5, self.cpu + cpu
        self.rate.look(self.now, self.cpu)
        return self.rate()


def test_without_a_crowd_it_is_what_is_configured() -> None:
    node = Node()
    assert [node.half_second(begun=100, done=100) for _ in range(5)] == [200] * 5


def test_a_crowd_shows_how_many_a_node_takes_and_a_third_of_that_is_used() -> None:
    node = Node()
    assert node.half_second(begun=5_000, done=300) == 200  # the crowd has come in between
    assert [node.half_second(begun=0, done=450) for _ in range(3)] == [300] * 3
    # When it is over that is remembered.
    assert [node.half_second(begun=0, done=3_350), node.half_second(begun=5, done=5)] == [300] * 2


def test_who_waits_for_others_than_the_cpu_says_nothing() -> None:
    node = Node()
    assert [node.half_second(begun=100, done=50, cpu=0.1) for _ in range(9)] == [200] * 9


def test_one_odd_moment_changes_nothing_and_other_work_not_much() -> None:
    node = Node()
    node.half_second(begun=50_000, done=0)
    rates = [node.half_second(begun=0, done=done) for done in (450, 450, 30, 450, 4_500)]
    assert rates[2:] == [300] * 3
    slow = Node()
    slow.half_second(begun=50_000, done=0)
    assert [slow.half_second(begun=0, done=30) for _ in range(3)] == [50] * 3
