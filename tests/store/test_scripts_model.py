"""Sessions and queues against a plain model, in any order of logins, deaths and messages."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from skyeim_ws.conn.messages import ChatMessage, encode_data
from skyeim_ws.logic.watermarks import Mark
from skyeim_ws.store.keys import (
    NODE_PREFIX,
    holders_key,
    missed_key,
    queue_key,
    session_key,
    watermark_key,
)
from skyeim_ws.store.messages import PrivateMessage, decode
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.sessions import CLEAN, RedisSessions
from skyeim_ws.store.watermarks import RedisWatermarks
from tests.lives import lifeless, older
from tests.store.servers import Server, pipelined

T = TypeVar("T")

NODES = ("east", "west")
USERS = (1, 2)
QUEUE_SIZE = 6

users = st.sampled_from(USERS)
nodes = st.sampled_from(NODES)


@dataclass
class User:
    """What the scripts are to keep of a user; the queue is in the order of the ids."""

    session: str = ""
    holders: set[str] = field(default_factory=set)
    queue: list[bytes] = field(default_factory=list)
    missed: bool = False
    watermark: int | None = None
    full: bool = False
    older: bool = False
    """Whether Redis may have forgotten what followed the session."""

    @property
    def mark(self) -> str:
        """The watermark as it is stored."""
        return "" if self.watermark is None else f"{self.watermark}{' full' * self.full}"

    def push(self, *entries: bytes) -> None:
        everything = sorted({*self.queue, *entries}, key=number)
        self.queue = everything[-QUEUE_SIZE:]
        if self.watermark is not None:
            self.watermark = min(self.watermark, *map(number, entries))
        if len(everything) > QUEUE_SIZE:
            self.full, self.watermark = True, self.watermark or 0

    def let_go(self, node: str) -> None:
        self.holders = {session for session in self.holders if not session.startswith(f"{node} ")}

    def window(self, before: int | None, limit: int) -> tuple[list[bytes], int]:
        wanted = [entry for entry in self.queue if before is None or number(entry) < before]
        taken = wanted[max(len(wanted) - limit, 0) :]
        return taken, len(wanted) - len(taken)


@dataclass(frozen=True)
class Login:
    """A connection that has claimed its user's session."""

    user: int
    node: str
    conn: str

    @property
    def session(self) -> str:
        return f"{self.node} {self.conn}"


def entry(number: int) -> bytes:
    """Return an entry of a queue."""
    return encode_data(
        ChatMessage(
            id=number,
            msg_id=f"m-{number}",
            from_user_id=9,
            to_user_id=1,
            content="hello",
            content_type=1,
            created_at=1,
        )
    )


def number(stored: bytes) -> int:
    """Return the id in an entry."""
    return int(stored.partition(b'"id":')[2].partition(b",")[0])


class Model(RuleBasedStateMachine):
    """Each rule does the same to Redis and to the model, and compares the answers."""

    logins: Bundle[Login] = Bundle("logins")
    marks: Bundle[tuple[int, str]] = Bundle("marks")

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.count = 0
        self.model = {user: User() for user in USERS}
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.stack = AsyncExitStack()
        self.redis = redis.Redis(unix_socket_path=str(server.socket))

    @initialize()
    def connect(self) -> None:
        self.redis.flushall()
        self.hearing = self.redis.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )
        self.hearing.psubscribe(NODE_PREFIX + "*")
        assert self.hearing.get_message(timeout=5) is None
        self.pipeline = self.do(self.stack.enter_async_context(pipelined(self.server)))
        self.queue = RedisOfflineQueue(self.pipeline, size=QUEUE_SIZE, ttl=60)
        self.sessions = {name: RedisSessions(self.pipeline, self.queue, name) for name in NODES}
        self.written = self.pipeline.call

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def write(self, action: Any, *arguments: Any) -> None:
        """Do what is not answered, and wait until Redis has it."""

        async def act() -> None:
            action(*arguments)
            await self.written(("PING",))

        self.do(act())

    def teardown(self) -> None:
        self.do(self.stack.aclose())
        self.runner.close()
        self.redis.close()

    # Sessions.

    @rule(target=logins, user=users, node=nodes, limit=st.integers(1, 4), behind=st.integers(0, 3))
    def log_in(self, user: int, node: str, limit: int, behind: int) -> Login:
        """Also on a node whose clock is behind, so that its connection ids are."""
        self.count += 1
        login = Login(user, node, f"{max(self.count - behind, 0):06}-{self.count}")
        claim = self.do(self.sessions[node].claim(user, login.conn, limit))
        known = self.model[user]
        login = Login(user, node, claim.own)
        assert known.session == CLEAN or claim.own > known.session.partition(" ")[2]
        taken, older = known.window(None, limit)
        assert [found.stored for found in claim.window.entries] == taken
        assert claim.window.older == older
        was_older = known.older
        known.missed |= known.session == "" or known.older
        known.older = False
        if known.session == CLEAN:
            known.session = ""
        known.let_go(node)
        if known.session.startswith(f"{node} "):
            before = known.holders or {known.session}
        else:
            before = {known.session}
            known.holders |= before - {""}
        assert f"{claim.node} {claim.conn_id}".strip() in before
        assert claim.watermark == (known.watermark or 0)
        assert claim.here == (claim.node == node)
        assert bool(claim.missed) == known.missed
        assert claim.forgetful == was_older
        known.session = login.session
        return login

    @rule(target=logins, user=users, node=nodes)
    def log_in_unheard(self, user: int, node: str) -> Login:
        """Redis was away."""
        self.count += 1
        return Login(user, node, f"{self.count:06}-{self.count}")

    @rule(login=logins)
    def end(self, login: Login) -> None:
        [none] = self.do(self.sessions[login.node].release([(login.user, login.conn)]))
        known = self.model[login.user]
        node, _, conn = known.session.partition(" ")
        ours = node == login.node and conn <= login.conn
        known.let_go(login.node)
        if ours and known.holders:
            known.session = (lifeless(self.redis.get(session_key(login.user))) or b"").decode()
            known.holders.remove(known.session)
        elif ours:
            known.session = CLEAN
        assert none == (known.session in ("", CLEAN))

    @rule(login=logins)
    def reclaim(self, login: Login) -> None:
        [answer] = self.do(self.sessions[login.node].reclaim([(login.user, login.conn)]))
        known = self.model[login.user]
        node, _, conn = known.session.partition(" ")
        elsewhere = bool(conn) and node != login.node
        assert answer.ours == (conn <= login.conn or not elsewhere)
        if answer.ours:
            known.let_go(login.node)
        before = {known.session} if elsewhere else (conn and known.holders) or {""}
        assert f"{answer.node} {answer.conn_id}".strip() in before
        if answer.ours:
            known.holders |= {known.session} if elsewhere else set()
            assert answer.watermark == (known.watermark or 0)
            assert answer.own == max(conn, login.conn)
            known.missed |= known.session == "" or known.older
            known.older = False
            known.session = f"{login.node} {answer.own}"
            assert bool(answer.missed) == known.missed

    @rule(login=logins, by=nodes)
    def reap(self, login: Login, by: str) -> None:
        reaped = self.do(self.sessions[by].reap([(login.user, login.session)]))
        known = self.model[login.user]
        known.let_go(login.node)
        if known.session.partition(" ")[0] in ("", CLEAN, login.node):
            assert reaped == [login.user]
            known.session, known.older = "", False
        else:
            assert reaped == []
            known.missed = True

    @rule(target=marks, user=users, node=nodes)
    def miss(self, user: int, node: str) -> tuple[int, str]:
        noted: list[str] = []
        self.write(lambda: noted.append(self.sessions[node].note_missed(user)))
        self.model[user].missed = True
        return user, noted[0]

    @rule(mark=marks, node=nodes)
    def forget(self, mark: tuple[int, str], node: str) -> None:
        user, missed = mark
        newest = self.redis.get(missed_key(user)) == missed.encode()
        self.write(self.sessions[node].forget_missed, user, missed)
        if newest:
            self.model[user].missed = False

    @rule(user=users)
    def forget_lately(self, user: int) -> None:
        """Redis is killed and started again, or another takes its place."""
        known = self.model[user]
        if known.session:
            key = session_key(user)
            self.redis.set(key, older(self.redis.get(key)), keepttl=True)
            known.older = True

    @rule(user=users)
    def ask(self, user: int) -> None:
        known = self.model[user]
        [found] = self.do(self.sessions["east"].anywhere([user]))
        assert found == (known.session not in ("", CLEAN))

    @rule(login=logins, back=st.integers(0, 8), bringing=st.none() | marks)
    def advance(self, login: Login, back: int, bringing: tuple[int, str] | None) -> None:
        """Also by a session that has lost its place, or that is bringing what was missed."""
        note = "" if bringing is None else bringing[1]
        below = max(self.count - back, 1)
        mark = Mark(login.user, login.conn, below, note)
        known = self.model[login.user]
        missed = self.redis.get(missed_key(login.user))
        store = RedisWatermarks(self.pipeline, self.queue, login.node)
        [watermark] = self.do(store.advance([mark]))
        is_ours = known.session == login.session and not known.older
        if not is_ours or missed not in (None, note.encode()) or known.holders:
            assert watermark is None
            return
        if note or not (known.full or len(known.queue) >= QUEUE_SIZE):
            known.watermark, known.full = min([below, *map(number, known.queue)]), False
        assert watermark == (known.watermark or 0)

    # Queues.

    @rule(user=users, late=st.integers(0, 8))
    def route(self, user: int, late: int) -> None:
        """Also a message that has waited on its node, or that is sent again."""
        self.count += 1
        message = entry(max(self.count - late, 1))
        answers: list[bool] = []
        self.write(self.queue.route, user, message, answers.append)
        assert answers == [True]
        known = self.model[user]
        known.push(message)
        node, _, conn = known.session.partition(" ")
        heard = self.hearing.get_message(timeout=5 if conn else 0)
        if conn:
            assert heard is not None
            assert heard["channel"] == (NODE_PREFIX + node).encode()
            assert decode(heard["data"]) == PrivateMessage(user, message)
        else:
            assert heard is None

    @rule(user=users, ages=st.lists(st.integers(-3, 8), min_size=1, max_size=3))
    def put_back(self, user: int, ages: list[int]) -> None:
        entries = [entry(max(self.count - age, 1)) for age in ages]
        self.count += 3
        self.write(self.queue.push, user, entries)
        self.model[user].push(*entries)

    @rule(user=users, choice=st.data())
    def confirm(self, user: int, choice: st.DataObject) -> None:
        known = self.model[user]
        some = st.lists(st.sampled_from(known.queue or [entry(0)]), unique=True, max_size=3)
        confirmed = choice.draw(some)
        self.write(self.queue.remove, user, confirmed)
        known.queue = [each for each in known.queue if each not in confirmed]

    @rule(user=users, back=st.integers(0, 8) | st.none(), limit=st.integers(1, 4))
    def pull(self, user: int, back: int | None, limit: int) -> None:
        before = None if back is None else self.count - back
        window = self.do(self.queue.window(user, before, limit))
        taken, older = self.model[user].window(before, limit)
        assert [found.stored for found in window.entries] == taken
        assert window.older == older

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        for user, known in self.model.items():
            session = self.redis.get(session_key(user))
            assert (lifeless(session) or b"") == known.session.encode()
            assert self.redis.lrange(queue_key(user), 0, -1) == known.queue[::-1]
            assert bool(self.redis.exists(missed_key(user))) == known.missed
            holders = {session.encode() for session in known.holders}
            assert self.redis.smembers(holders_key(user)) == holders
            mark = known.mark
            assert (self.redis.get(watermark_key(user)) or b"") == mark.encode()
            # Whatever was said, all that is queued is brought by a catch-up from there.
            assert not known.queue or int(mark.split()[0] if mark else 0) <= number(known.queue[0])


def test_the_scripts_do_what_the_model_does(server: Server) -> None:
    run_state_machine_as_test(
        partial(Model, server),  # type: ignore[arg-type] # whatever makes a machine will do
        settings=settings(max_examples=40, stateful_step_count=25),
    )
