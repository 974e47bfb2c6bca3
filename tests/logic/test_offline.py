"""The offline queue as a client pulls it: one window at a time, from the newest to the oldest."""

import pytest

from skyeim_ws.conn.messages import OfflinePull
from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.shared_state import Window
from skyeim_ws.logic.tasks import Tasks
from tests.logic.fakes import Person, Queue, queued
from tests.waiting import until

BUSY = ERROR_CODES[Reason.BUSY]


def offline(queue: Queue, tasks: Tasks) -> OfflineMessages:
    requests = Requests(tasks, 1, 1)
    return OfflineMessages(queue=queue, requests=requests, push_limit=20, max_bytes=1_000)


@pytest.mark.gen_test
async def test_each_pull_brings_what_is_older_than_all_before() -> None:
    alice, tasks, queue = Person(1), Tasks(), Queue()
    tested = offline(queue, tasks)
    queue.windows = [Window([queued(8), queued(9)], 1), Window([queued(7)], 0)]
    for _ in range(2):
        tested.pull(alice.client, OfflinePull(limit=2))
        await until(lambda: not len(tasks))
    assert queue.asked == [None, 8]
    assert alice.delivered == ["m8", "m9", "m7"]
    assert [frame["data"]["hasMore"] for frame in alice.frames] == [True, False]


@pytest.mark.gen_test
async def test_a_second_pull_waits_for_the_first() -> None:
    alice, tasks, queue = Person(1), Tasks(), Queue()
    tested = offline(queue, tasks)
    queue.windows = [Window([queued(8)], 0)]
    tested.pull(alice.client, OfflinePull(limit=2))
    tested.pull(alice.client, OfflinePull(limit=2))
    assert alice.errors == [BUSY]
    await until(lambda: not len(tasks))
    assert alice.delivered == ["m8"]


@pytest.mark.gen_test
async def test_a_pull_that_is_refused_as_busy_does_not_stand_in_the_way_of_the_next() -> None:
    alice, tasks, queue = Person(1), Tasks(), Queue()
    tested = offline(queue, tasks)
    queue.windows = [Window([queued(8)], 0)]
    alice.session.asking = 1
    tested.pull(alice.client, OfflinePull(limit=2))
    assert alice.errors == [BUSY]
    alice.session.asking = 0
    tested.pull(alice.client, OfflinePull(limit=2))
    await until(lambda: not len(tasks))
    assert alice.delivered == ["m8"]


@pytest.mark.gen_test
async def test_what_is_queued_below_a_window_is_new_only_if_nothing_was_left_there() -> None:
    alice, tasks, queue = Person(1), Tasks(), Queue()
    tested = offline(queue, tasks)
    queue.windows = [Window([queued(8), queued(9)], 1)]
    tested.pull(alice.client, OfflinePull(limit=2))
    await until(lambda: not len(tasks))
    found = []
    for late, older in ((6, 1), (6, 0), (5, 0)):
        queue.windows = [Window([queued(late), queued(10 + late)], older)]
        found.append([each.id for each in await tested.newer(alice.client) or []])
    assert found == [[16], [16], [15]]
    queue.windows = [Window([queued(6)], 0)]
    tested.pull(alice.client, OfflinePull(limit=2))
    await until(lambda: not len(tasks))
    queue.windows = [Window([queued(5), queued(15)], 0)]
    assert [each.id for each in await tested.newer(alice.client) or []] == [5, 15]
