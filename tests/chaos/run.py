"""A run: people chat while the cluster is under fire; then the books are compared."""

import asyncio
import contextlib
import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.chaos import faults as fire
from tests.chaos import rig as cluster
from tests.chaos.book import Book, Trouble
from tests.chaos.kinds import online
from tests.chaos.person import Person
from tests.chaos.rig import GROUP, Rig
from tests.chaos.sdk_person import SdkPerson
from tests.waiting import DEADLINE, until

FIRST_USER = 2001
SETTLE_SECONDS = DEADLINE
"""How long everything may take to arrive once all is healed."""

ENOUGH = 10
"""So many messages of the group most people hear some of."""

Say = Callable[[str], None]
Someone = Person | SdkPerson

WITH_THE_CLIENT = 4
"""Of so many people one uses `skyeim_ws.client`; some of them leave at the end, others do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a run is; `think` is the longest pause of a person between two messages."""

    people: int
    messages: int
    faults: int
    think: float
    nodes: int = 3
    redis: str = "single"
    drop: float = 0.05
    """How likely a person loses the connection after a message."""
    to_group: float = 0.2
    """How likely a message is for the group."""


LONG = Shape(people=60, messages=30_000, faults=40, think=0.7)


def short(redis: str = "single") -> Shape:
    """Return the short form for a kind of Redis: each of its faults once."""
    return Shape(people=20, messages=1_000, faults=len(fire.FAULTS[redis]), think=1.0, redis=redis)


@dataclass(frozen=True, slots=True)
class Result:
    """The closing table: what happened to how many messages; `wrong` says what else is amiss."""

    counts: dict[str, int]
    lost: int
    wrong: list[str]
    missing: list[str]
    """The private messages that did not arrive."""

    @property
    def table(self) -> str:
        """The numbers as text, one line each."""
        width = max(map(len, self.counts))
        lines = [f"{name:<{width}}  {count:>8}" for name, count in self.counts.items()]
        return "\n".join(lines + self.wrong[:20])


async def run(
    shape: Shape,
    seed: int,
    say: Say = lambda _: None,
    without: str = "",
    keep: Path | None = None,
) -> Result:
    """Run it with real processes in a folder of its own; `without` names what to leave out.

    If something is wrong, what the processes have said is copied to `keep`.
    """
    users = range(FIRST_USER, FIRST_USER + shape.people)
    with tempfile.TemporaryDirectory(prefix="skyeim-chaos-") as name:
        folder = Path(name)
        async with cluster.running(folder, shape.redis, shape.nodes, users, without) as rig:
            result = await _run(shape, seed, rig, say)
            if result.lost or result.wrong:
                say(cluster.output(folder))
                if keep is not None:
                    _keep(folder, keep / f"seed-{seed}", result)
            return result


def _keep(folder: Path, where: Path, result: Result) -> None:
    where.mkdir(parents=True)
    for path in (*folder.glob("*.out"), *folder.glob("*.trace")):
        shutil.copy(path, where)
    (where / "result.txt").write_text("\n".join([result.table, *result.wrong, *result.missing]))


async def _run(shape: Shape, seed: int, rig: Rig, say: Say) -> Result:
    book = Book()
    people: list[Someone] = [_person(user)(user, rig, book, seed) for user in rig.users]
    rig.clients = people
    rig.on_set_back = book.counts_anew
    living = [asyncio.create_task(person.live()) for person in people]
    try:
        chatting = [asyncio.create_task(_chat(person, shape, seed, book, rig)) for person in people]
        burning = asyncio.create_task(_burn(rig, shape, seed, book, say))
        try:
            await asyncio.gather(*chatting, burning)
        finally:
            for task in (*chatting, burning):
                task.cancel()
            await asyncio.gather(*chatting, burning, return_exceptions=True)
        await rig.healthy()
        say("all is healed, waiting for what is still to come")
        await _until(lambda: all(p.idle for p in people) and not book.undelivered)
        late = len(book.undelivered)
        if late:
            before = [person.connections for person in people]
            await asyncio.gather(*(person.drop() for person in people))
            await _until(
                lambda: (
                    not book.undelivered
                    and all(
                        p.connections > n and p.idle for p, n in zip(people, before, strict=True)
                    )
                )
            )
        in_group = {number: seq for number, seq in (await rig.stored()).values() if seq}
        await asyncio.gather(*(person.sync(in_group) for person in people))
        book.wrong += await _wrong_presence(rig, people, [])
        gone = people[::3]
        for task in living[::3]:
            task.cancel()
        here = [person for person in people if person not in gone]
        book.wrong += await _wrong_presence(rig, here, gone)
        return await _compare(rig, book, late, sum(person.connections for person in people))
    finally:
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)


def _person(user_id: int) -> type[Someone]:
    return SdkPerson if user_id % WITH_THE_CLIENT == 0 else Person


async def _chat(person: Someone, shape: Shape, seed: int, book: Book, rig: Rig) -> None:
    """Write to friends and to the group, and lose the connection now and then."""
    chance = random.Random(f"{seed}-chat-{person.user_id}")
    friends = [user for user in rig.users if user != person.user_id]

    async def write(targets: list[int]) -> None:
        while len(book.promised) < shape.messages:
            await asyncio.sleep(chance.uniform(0, shape.think))
            if len(book.promised) >= book.room:
                continue
            await person.send(0 if chance.random() < shape.to_group else chance.choice(targets))
            if chance.random() < shape.drop:
                await person.drop()

    # Two at once, to different friends: messages of one conversation follow each other.
    await asyncio.gather(write(friends[::2]), write(friends[1::2]))


async def _burn(rig: Rig, shape: Shape, seed: int, book: Book, say: Say) -> None:
    """Bring the faults, each when a share of the messages has been sent."""
    chance = random.Random(f"{seed}-faults")
    planned = fire.plan(shape.faults, chance, fire.FAULTS[shape.redis])
    began = time.monotonic()
    for number, fault in enumerate(planned, 1):
        share = shape.messages / (len(planned) + 1)
        due, book.room = int(share * number), share * (number + 2)
        await until(partial(_promised, book, due), deadline=None)
        book.faults.append(Trouble(time.monotonic()))
        emptying = fault is fire.empty_redis
        if emptying:
            book.emptied(over=False)
        await fault(rig, chance)
        await rig.healthy()
        book.faults[-1].healed = time.monotonic()
        if emptying:
            book.emptied(over=True)
        if fault is fire.set_counters_back:
            await _heard_anew(book, shape.people)
        say(
            f"{time.monotonic() - began:6.1f} s  {len(book.promised):>6} of {shape.messages} sent, "
            f"{len(book.undelivered):>4} under way  {number}/{len(planned)} {fault.__name__}"
        )
    book.room = math.inf


async def _heard_anew(book: Book, people: int) -> None:
    """See that messages of the group come before its counter is where it had been."""
    after = book.set_back
    assert after is not None
    most = people // 2
    await _until(lambda: after.heard >= most or _promised(book, book.room))
    sent = sum(
        not each.to and book.promised[each.msg_id] > after.newest_id
        for each in book.messages.values()
    )
    if after.heard < most and sent >= ENOUGH:
        book.wrong.append(f"group: its counter was set back, and {after.heard} heard of {sent}")


def _promised(book: Book, due: float) -> bool:
    return len(book.promised) >= due


async def _until(condition: Callable[[], bool]) -> None:
    with contextlib.suppress(TimeoutError):
        await until(condition, SETTLE_SECONDS)


async def _wrong_presence(rig: Rig, here: list[Someone], gone: list[Someone]) -> list[str]:
    """Wait until Valkey and all who are here are right about who is; return what stays wrong."""
    wrong = await _presence(rig, here, gone)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            while wrong:
                await asyncio.sleep(0.1)
                wrong = await _presence(rig, here, gone)
    return wrong


async def _presence(rig: Rig, here: list[Someone], gone: list[Someone]) -> list[str]:
    truth = {person.user_id for person in here}
    wrong = [
        f"presence: {key} has {sorted(users - truth)} and lacks {sorted(truth - users)}"
        for key, users in (await online(rig.redis.conf, GROUP)).items()
        if users != truth
    ]
    for person in here:
        told = {user: online for user, online in person.heard.items() if online != (user in truth)}
        unheard = [other.user_id for other in gone if other.user_id not in person.heard]
        if told or unheard:
            wrong.append(f"presence: {person.user_id} was told {told}, and nothing of {unheard}")
    return wrong


async def _compare(rig: Rig, book: Book, late: int, connections: int) -> Result:
    stored = await rig.stored()
    unstored = [
        message
        for message in book.messages.values()
        if stored.get(message.msg_id, (0, 0))[0] != book.promised[message.msg_id]
    ]
    in_group = {number for number, seq in stored.values() if seq}
    missing = sum(len(in_group - book.of_group[user]) for user in rig.users)
    # Without an answer of Redis a login gets all that is unread: there the watermark is.
    unknown = rig.logins_without_redis()
    again = [
        each for conn_id, found in book.again.items() if conn_id not in unknown for each in found
    ]
    private = [message for message in book.messages.values() if message.to]
    book.wrong += [f"duplicate, confirmed long ago: {each}" for each in again]
    lost = len(book.undelivered) + len(unstored) + missing
    return Result(
        counts={
            "sent and acked": len(book.promised),
            "stored": len(stored),
            "private": len(private),
            "delivered": len(private) - len(book.undelivered),
            "duplicated": book.counts["duplicated"],
            "connections": connections,
            **{name: n for name, n in sorted(book.counts.items()) if name != "duplicated"},
            "late": late,
            "presence wrong": sum(text.startswith("presence") for text in book.wrong),
            "lost: not stored": len(unstored),
            "lost: private": len(book.undelivered),
            "lost: group": missing,
        },
        lost=lost,
        wrong=book.wrong,
        missing=[f"lost: {each}" for each in book.undelivered],
    )
