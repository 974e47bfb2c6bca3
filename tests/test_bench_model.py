"""The estimate for a large deployment: it adds up what was measured, and says what is missing."""

import msgspec
import pytest

from bench.model import Cost, Costs, World, costs, parts, tables, total

ONE = Cost(100.0, 10.0, 20.0)
UNIT = Costs(
    privates={100: Cost(400.0, 40.0, 80.0), 10_000: ONE},
    crossing=Cost(50.0, 5.0, 0.0),
    group=Cost(200.0, 1.0, 20.0),
    delivery=10.0,
    login=Cost(1_000.0, 100.0, 50.0),
    ping=30.0,
    connection_kb=3.0,
    tls_kb=17.0,
    redis_kb=1.0,
)


def test_each_part_costs_as_often_as_it_happens() -> None:
    world = World(
        users=3_600_000,
        nodes=1,
        messages_per_hour=10.0,
        share_of_groups=0.1,
        members_online=20,
        friends_online=5,
        session_hours=1.0,
    )
    assert (world.privates, world.groups, world.logins) == (9_000.0, 1_000.0, 1_000.0)
    found = {part.name: part.cores for part in parts(world, UNIT)}
    assert found["private messages"] == pytest.approx((0.9, 0.09, 0.18))
    # On the only node nothing crosses, and a message is heard once.
    assert found["from node to node"] == (0.0, 0.0, 0.0)
    assert found["their deliveries"].gateway == pytest.approx(0.22)
    assert found["logins, ends"] == pytest.approx((1.0, 0.1, 0.05))
    assert found["heartbeats"].gateway == pytest.approx(2.0)
    assert total(list(parts(world, UNIT))).redis == pytest.approx(0.191)
    assert "3,600,000 users on 1 nodes" in tables(world, UNIT)


def test_a_rate_between_two_that_were_measured_costs_something_between() -> None:
    assert UNIT.private(1_000).gateway == pytest.approx(200.0)
    assert UNIT.private(1).gateway == pytest.approx(400.0)
    assert UNIT.private(100_000) == pytest.approx(ONE)


def test_a_case_that_was_not_measured_is_named() -> None:
    results = msgspec.json.encode({"rows": [{"case": "connect", "median": 1.0, "samples": []}]})
    with pytest.raises(KeyError, match="growth at 10"):
        costs(results)
