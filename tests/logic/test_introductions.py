"""Who has come is written as online, many in one step, and friends hear of it."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skyeim_ws.conn.client import Client
from skyeim_ws.logic import introductions
from skyeim_ws.logic.introductions import AT_ONCE, Introductions
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.session_state import Session
from skyeim_ws.logic.tasks import Tasks
from tests.waiting import until


class Outside:
    """What introductions need, with notes of what they did."""

    def __init__(self) -> None:
        self.here: dict[int, Client] = {}
        self.steps: list[int] = []
        self.written: dict[int, tuple[str, ...]] = {}
        self.listed: list[int] = []
        self.noted: list[int] = []
        self.away = 0
        self.tasks = Tasks()
        self.introductions = Introductions(
            hub=cast(Any, self.here),
            node_sessions=cast(Any, SimpleNamespace(enter_again=self.enter_sessions)),
            presence=cast(Any, SimpleNamespace(enter_again=self.enter_groups)),
            announcer=cast(Any, SimpleNamespace(note=self.noted.extend)),
            tasks=self.tasks,
        )

    def come(self, user_id: int) -> None:
        session = Session(group_ids=(f"g{user_id}",))
        client = cast(Client, SimpleNamespace(user_id=user_id, conn_id="c", session=session))
        self.here[user_id] = client
        self.introductions.add(client)

    async def enter_sessions(self, users: Sequence[tuple[int, str, Sequence[str]]]) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("Redis")
        self.steps.append(len(users))
        self.listed += [user_id for user_id, _, _ in users]

    async def enter_groups(self, users: Mapping[int, tuple[str, ...]]) -> None:
        self.written.update(users)


@pytest.mark.gen_test
async def test_a_crowd_is_introduced_in_few_steps() -> None:
    outside, crowd = Outside(), range(1, 3 * AT_ONCE + 1)
    for user_id in crowd:
        outside.come(user_id)
    await until(lambda: not len(outside.tasks))
    assert outside.steps == [AT_ONCE] * 3
    assert outside.written == {user_id: (f"g{user_id}",) for user_id in crowd}
    assert sorted(outside.listed) == sorted(outside.noted) == list(crowd)


@pytest.mark.gen_test
async def test_who_has_left_meanwhile_is_not_entered() -> None:
    outside = Outside()
    outside.come(1)
    outside.come(2)
    older = outside.here.pop(1)
    outside.introductions.add(older)
    await until(lambda: not len(outside.tasks))
    assert (outside.written, outside.listed) == ({2: ("g2",)}, [2])
    assert outside.noted == [2]


@pytest.mark.gen_test
async def test_while_redis_is_away_friends_are_told_and_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(introductions, "_RETRY_SECONDS", 0.01)
    outside = Outside()
    outside.away = 2
    outside.come(1)
    await until(lambda: outside.noted == [1])
    assert outside.written == {}
    await until(lambda: not len(outside.tasks))
    assert outside.written == {1: ("g1",)}
