"""A batch is like its items one by one: same order, same refusals, no gaps in seq."""

import asyncio
from collections.abc import Sequence
from itertools import count, pairwise

import pytest
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select, update
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from tornado.ioloop import IOLoop

from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services.batch import Outcome, Stored, store
from skyeim_ws.services.db import Database
from skyeim_ws.services.errors import RefusedError
from skyeim_ws.services.send_rules import Decision, Draft, Facts, Repeat, decide
from skyeim_ws.services.tables import ACTIVE, BLOCKED, NORMAL, friends, group_seqs, messages
from tests.services.conftest import Services, befriend, make_group, refusal
from tests.services.test_message import grouped, private

USERS = (1, 2, 3)


def draft(msg_id: str, sender: int = 1, receiver: int = 2, group_id: str = "") -> Draft:
    return Draft(msg_id, sender, 0 if group_id else receiver, group_id, "text", 1, ())


def answer(outcome: Outcome) -> tuple[object, ...]:
    """What may be compared between two runs: not the time."""
    if isinstance(outcome, RefusedError):
        return (outcome.code, outcome.reason)
    return (outcome.id, outcome.msg_id, outcome.seq, outcome.first is not None)


drafts = st.builds(
    draft,
    msg_id=st.sampled_from("abcdef"),
    sender=st.sampled_from(USERS),
    receiver=st.sampled_from(USERS),
    group_id=st.sampled_from(["", "g", "h"]),
)


@given(
    items=st.lists(drafts, max_size=12),
    known=st.dictionaries(st.sampled_from("abc"), drafts),
    friendships=st.dictionaries(
        st.tuples(st.sampled_from(USERS), st.sampled_from(USERS)),
        st.sampled_from([NORMAL, BLOCKED]),
    ),
    members=st.dictionaries(
        st.tuples(st.sampled_from("gh"), st.sampled_from(USERS)),
        st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([0, 1])),
    ),
)
def test_the_verdicts_on_a_batch_are_those_on_its_items_one_after_the_other(
    items: list[Draft],
    known: dict[str, Draft],
    friendships: dict[tuple[int, int], int],
    members: dict[tuple[str, int], tuple[int, int]],
) -> None:
    def facts(stored: dict[str, Draft]) -> Facts:
        rows = {
            msg_id: pb.MessageInfo(
                from_user_id=first.from_user_id,
                to_user_id=first.to_user_id,
                group_id=first.group_id,
            )
            for msg_id, first in stored.items()
        }
        return Facts(rows, friendships, {"g": ACTIVE}, members)

    def kind(decision: Decision) -> object:
        if isinstance(decision, RefusedError):
            return decision.reason
        return "duplicate" if isinstance(decision, pb.MessageInfo | Repeat) else "new"

    expected = []
    stored = dict(known)
    for item in items:
        (decision,) = decide([item], facts(stored))
        expected.append(kind(decision))
        if isinstance(decision, Draft):
            stored[item.msg_id] = item
    assert [kind(decision) for decision in decide(items, facts(known))] == expected


@settings(max_examples=25)
@given(
    items=st.lists(drafts, min_size=1, max_size=12), cuts=st.sets(st.integers(1, 11), max_size=3)
)
def test_ids_and_seqs_follow_the_order_of_items_however_they_are_batched(
    io_loop: IOLoop, database: Database, items: list[Draft], cuts: set[int]
) -> None:
    """New ids ascend, each group's seq counts 1, 2, 3, and a repeat gets the first answer."""

    async def run() -> None:
        mark = await unique_mark(database)
        await befriend(database, mark + 1, mark + 2)
        await make_group(database, f"g{mark}", mark + 1, [mark + 2])
        own = [
            item._replace(
                msg_id=f"{item.msg_id}{mark}",
                from_user_id=mark + item.from_user_id,
                to_user_id=mark + item.to_user_id if item.to_user_id else 0,
                group_id=f"{item.group_id}{mark}" if item.group_id else "",
            )
            for item in items
        ]
        outcomes: list[Outcome] = []
        edges = [0, *sorted(cut for cut in cuts if cut < len(own)), len(own)]
        for start, end in pairwise(edges):
            outcomes += await store(database, own[start:end])
        check(own, outcomes)

    io_loop.run_sync(run)


async def unique_mark(database: Database) -> int:
    """Return a number that no user of an earlier example has, nor will have."""
    async with database.read() as connection:
        largest = (await connection.execute(select(func.max(friends.c.user_id)))).scalar()
    return (largest or 0) + 10


def check(items: Sequence[Draft], outcomes: Sequence[Outcome]) -> None:
    """Compare with what must hold of messages that were sent in this order."""
    first_answers: dict[str, Stored] = {}
    firsts: dict[str, Draft] = {}
    last_id, seqs = 0, count(1)
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, RefusedError):
            assert outcome.reason in ("not_friend", "group_not_found", "not_member") or (
                outcome.reason == "msg_id_conflict" and item.msg_id in first_answers
            )
        elif outcome.first is not None:
            assert outcome._replace(first=None) == first_answers[item.msg_id]
            first = firsts[item.msg_id]
            assert (
                (outcome.first.from_user_id, outcome.first.to_user_id, outcome.first.group_id)
                == (first.from_user_id, first.to_user_id, first.group_id)
                == (item.from_user_id, item.to_user_id, item.group_id)
            )
        else:
            assert item.msg_id not in first_answers
            assert outcome.id > last_id
            assert outcome.seq == (next(seqs) if item.group_id else 0)
            first_answers[item.msg_id] = outcome
            firsts[item.msg_id] = item
            last_id = outcome.id


@pytest.mark.gen_test
async def test_each_item_of_a_batch_has_its_own_result(services: Services) -> None:
    await befriend(services.database, 1, 2)
    await make_group(services.database, "g", 1)
    await services.message.SendMessage(private("old"))
    response = await services.message.SendBatch(
        pb.SendBatchReq(
            items=[
                pb.SendItem(private=private("a")),
                pb.SendItem(group=grouped("b")),
                pb.SendItem(private=private("c", 1, 9)),
                pb.SendItem(),
                pb.SendItem(private=private("d", content="")),
                pb.SendItem(private=private("old")),
                pb.SendItem(private=private("a", content="again")),
                pb.SendItem(private=private("a", 2, 1)),
                pb.SendItem(private=private("old", 1, 3)),
                pb.SendItem(group=grouped("old")),
                pb.SendItem(private=private("b", 1, 2)),
                pb.SendItem(group=grouped("e", 9)),
                pb.SendItem(group=grouped("f", 1, "nowhere")),
                pb.SendItem(group=grouped("h")),
            ]
        )
    )
    results = list(response.results)
    assert [(r.code, r.reason, r.msg_id, r.seq, r.duplicate) for r in results] == [
        (0, "", "a", 0, False),
        (0, "", "b", 1, False),
        (7, "not_friend", "", 0, False),
        (3, "invalid", "", 0, False),
        (3, "invalid", "", 0, False),
        (0, "", "old", 0, True),
        (0, "", "a", 0, True),
        *[(6, "msg_id_conflict", "", 0, False)] * 4,
        (7, "not_member", "", 0, False),
        (5, "group_not_found", "", 0, False),
        (0, "", "h", 2, False),
    ]
    assert results[6].id == results[0].id
    assert results[6].created_at == results[0].created_at
    assert [result.message.content for result in results[5:7]] == ["content of old", "content of a"]
    assert not any(result.HasField("message") for result in results[:5] + results[7:])


@pytest.mark.gen_test
async def test_an_empty_batch_is_answered_and_an_oversized_one_refused(services: Services) -> None:
    assert not (await services.message.SendBatch(pb.SendBatchReq())).results
    items = [pb.SendItem(private=private(f"m{n}")) for n in range(1_001)]
    call = services.message.SendBatch(pb.SendBatchReq(items=items))
    assert await refusal(call) == (StatusCode.INVALID_ARGUMENT, "invalid")


@pytest.mark.gen_test
async def test_the_largest_batch_of_the_largest_messages_is_taken(services: Services) -> None:
    """Longer than any IN list, and more than gRPC takes unless told."""
    await befriend(services.database, 1, 2)
    content = "🦊" * 16_384
    items = [
        pb.SendItem(private=private(f"m{n}", content=content if n < 100 else "x"))
        for n in range(1_000)
    ]
    response = await services.message.SendBatch(pb.SendBatchReq(items=items))
    assert [result.msg_id for result in response.results] == [f"m{n}" for n in range(1_000)]
    ids = [result.id for result in response.results]
    assert ids == sorted(set(ids))


@pytest.mark.gen_test
async def test_concurrent_senders_share_one_sequence_without_gaps(services: Services) -> None:
    users = range(1, 21)
    await make_group(services.database, "g", 1, users[1:])
    answers = await asyncio.gather(
        *(services.message.SendGroupMessage(grouped(f"{n}-{u}", u)) for u in users for n in "abc")
    )
    by_id = sorted(answers, key=lambda each: each.id)
    assert [each.seq for each in by_id] == list(range(1, 61))


@pytest.mark.gen_test
async def test_concurrent_first_attempts_make_one_message(services: Services) -> None:
    await make_group(services.database, "g", 1)
    answers = await asyncio.gather(
        *(services.message.SendGroupMessage(grouped("same")) for _ in range(10))
    )
    assert all(each == answers[0] for each in answers)
    async with services.database.read() as connection:
        rows = await connection.execute(select(func.count()).select_from(messages))
        assert rows.scalar_one() == 1


@pytest.mark.gen_test
async def test_a_group_of_an_existing_database_goes_on_after_its_largest_seq(
    database: Database,
) -> None:
    await make_group(database, "g", 1)
    await store(database, [draft("a", group_id="g")])
    async with database.write() as connection:
        await connection.execute(update(messages).values(seq=41))
        await connection.execute(group_seqs.delete())
    (outcome,) = await store(database, [draft("b", group_id="g")])
    assert isinstance(outcome, Stored)
    assert outcome.seq == 42


class Racing(Database):
    """A database whose first `failures` transactions end with `error`, as under a race."""

    def __init__(self, database: Database, error: Exception, failures: int) -> None:
        self.database = database
        self.error = error
        self.failures = failures

    async def run_write(self, work):  # type: ignore[no-untyped-def]
        def run(connection):  # type: ignore[no-untyped-def]
            result = work(connection)
            if self.failures:
                self.failures -= 1
                raise self.error
            return result

        return await self.database.run_write(run)


def mysql_error(
    kind: type[OperationalError | IntegrityError | DataError], number: int
) -> Exception:
    return kind("INSERT", None, Exception(number, "from the server"))


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "error", [mysql_error(IntegrityError, 1062), mysql_error(OperationalError, 1213)]
)
async def test_a_lost_race_is_run_again(database: Database, error: Exception) -> None:
    await make_group(database, "g", 1)
    items = [draft("a", group_id="g"), draft("b", group_id="g")]
    outcomes = await store(Racing(database, error, 1), items)
    assert [answer(outcome)[1:] for outcome in outcomes] == [("a", 1, False), ("b", 2, False)]


@pytest.mark.gen_test
async def test_a_database_that_is_away_is_not_asked_twice(database: Database) -> None:
    racing = Racing(database, mysql_error(OperationalError, 2013), 1)
    with pytest.raises(OperationalError):
        await store(racing, [draft("a")])
    assert racing.failures == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("error", "reason"), [(IntegrityError, "msg_id_conflict"), (DataError, "invalid")]
)
async def test_an_item_that_spoils_the_batch_fails_alone(
    database: Database, error: type[IntegrityError | DataError], reason: str
) -> None:
    """What a database with a laxer collation or shorter columns does, which SQLite does not."""
    await befriend(database, 1, 2)

    def refuse(_connection, _cursor, _statement, parameters, _context, many):  # type: ignore[no-untyped-def]
        for row in parameters if many else [parameters]:
            if "poison" in row and len(row) > 5:
                raise mysql_error(error, 1)

    event.listen(Engine, "before_cursor_execute", refuse)
    outcomes = await store(database, [draft("a"), draft("poison"), draft("b"), draft("a")])
    event.remove(Engine, "before_cursor_execute", refuse)
    kinds = [
        each.reason if isinstance(each, RefusedError) else each.first is not None
        for each in outcomes
    ]
    assert kinds == [False, reason, False, True]
