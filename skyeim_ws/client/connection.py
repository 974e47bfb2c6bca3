"""One user's connection: the socket, the timer and the HTTP around what `Core` decides."""

import asyncio
import ssl as tls
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from skyeim_ws.client.api import Api, TokenSource
from skyeim_ws.client.core import Core
from skyeim_ws.client.draft import frame_of, target_of
from skyeim_ws.client.effects import Drop, Effect, Emit, GetToken, Open, Settle, Sync, Write
from skyeim_ws.client.events import Sent, State, StateChanged
from skyeim_ws.client.handlers import Handlers
from skyeim_ws.client.life import Settings
from skyeim_ws.client.link import CLOSE_SECONDS, Link
from skyeim_ws.client.rules import SkyeError

LONGEST_TIMER = 86_400.0

_LOST = {"not_member", "group_not_found"}

E = TypeVar("E")


class SkyeIM:
    """One user's connection to SkyeIM, which comes back by itself.

    `url` is that of the gateway, `wss://chat.example.com/ws`, or the same with https and without
    the path. `token` is a token, or a function that gets one, plain or async: it is called with
    False at first, and with True when a fresh one is wanted. `state` is what `snapshot()` of an
    earlier client returned. Times are in seconds.

    Use it as `async with SkyeIM(...) as client`, which connects and closes, or call both yourself.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource,
        *,
        device: str = "",
        state: Mapping[str, Any] | None = None,
        ping_interval: float = 25.0,
        pong_timeout: float = 10.0,
        queue_limit: int = 1000,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        self.api = Api(url, token, ssl)
        settings = Settings(ping_interval, pong_timeout, fixed_token=isinstance(token, str))
        self._core = Core(settings, queue_limit=queue_limit, state=state)
        self._device = {"device": device} if device else {}
        self._ssl = ssl
        self._handlers = Handlers()
        self._sends: dict[str, asyncio.Future[Sent]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._closed = False

    # The connection

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self._core.state

    @property
    def user_id(self) -> int | None:
        """The user that the token names, once connected."""
        return self._core.user_id

    @property
    def waiting(self) -> int:
        """How many messages wait for their `sent`."""
        return self._core.waiting

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect, and come back whenever the connection is lost; return when connected.

        Raises SkyeError when the client has stopped; then it may be called again.
        """
        self._must_be_open()
        if self.state is State.OPEN:
            return
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def changed(change: StateChanged) -> None:
            if opened.done():
                return
            if change.state is State.OPEN:
                opened.set_result(None)
            elif change.state is State.STOPPED:
                reason = change.reason or ""
                opened.set_exception(SkyeError(reason, f"not connected: {reason}"))

        off = self.on(StateChanged, changed)
        try:
            self._run(self._core.start)
            await opened
        finally:
            off()

    async def until_stopped(self) -> str:
        """Wait until the client does not come back by itself; return why, as `StateChanged` has it.

        A bot that has connected has nothing else to wait for.
        """
        stopped = asyncio.Event()

        def changed(change: StateChanged) -> None:
            if change.state is State.STOPPED:
                stopped.set()

        off = self.on(StateChanged, changed)
        try:
            if not self._core.stopped:
                await stopped.wait()
        finally:
            off()
        return self._core.stopped

    async def until_sent(self) -> None:
        """Wait until no message waits for its `sent`, whatever becomes of each."""
        while self._sends:
            await asyncio.wait(self._sends.values())

    def retry(self) -> None:
        """Try at once, unless the server has said when to come back."""
        self._run(self._core.wake)

    async def close(self) -> None:
        """End the connection for good; what was not sent fails with `closed`."""
        if not self._closed:
            self._closed = True
            error = SkyeError("closed", "this client was closed")
            self._run(lambda _: self._core.stop("closed"))
            self._run(lambda _: self._core.abandon(error))
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def snapshot(self) -> dict[str, Any]:
        """Return what to pass as `state` to another client, so that it goes on from here.

        It is plain data, which JSON can hold; messages that were not sent are in it.
        """
        return self._core.snapshot()

    def on(self, kind: type[E], handler: Callable[[E], object]) -> Callable[[], None]:
        """Call a function at each event of a class; return a function that ends it.

        The function must not wait. What it raises goes to the event loop's exception handler.
        """
        return self._handlers.on(kind, handler)

    # Messages

    def send(
        self,
        content: str,
        *,
        to: int | None = None,
        group_id: str | None = None,
        content_type: int = 1,
        at_user_ids: Iterable[int] = (),
        msg_id: str = "",
    ) -> "asyncio.Future[Sent]":
        """Send a message to a user (`to`) or a group, now or when there is a connection again.

        The result may be awaited, and comes when the message is stored; SkyeError if it never will
        be. Messages of a conversation keep their order. `msg_id` is the key of idempotence.
        """
        self._must_be_open()
        msg_id = msg_id or str(uuid.uuid4())
        kind, data = frame_of(
            content,
            to=to,
            group_id=group_id,
            content_type=content_type,
            at_user_ids=at_user_ids,
            msg_id=msg_id,
        )
        sent: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        # Who does not await it hears of a failure by the event.
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._run(lambda now: self._core.send(kind, data, now))
        self._sends[msg_id] = sent
        return sent

    def read(self, peer_id: int, msg_ids: Iterable[str] | None = None) -> None:
        """Mark messages from a user as read: those named, or all."""
        self._run(lambda _: self._core.read(peer_id, msg_ids))

    def read_group(self, group_id: str, seq: int) -> None:
        """Mark a group as read up to a seq."""
        self._run(lambda _: self._core.read_group(group_id, seq))

    def typing(self, *, to: int | None = None, group_id: str | None = None) -> None:
        """Tell that the user is typing; call it at each key, one notice in 3 s goes out."""
        target = target_of(to, group_id)
        self._run(lambda now: self._core.tell_typing(target, now))

    def watch(self, user_ids: Iterable[int]) -> None:
        """Follow the presence of friends, by the event `Presence`."""
        self._run(lambda now: self._core.watch(user_ids, now))

    def online(self, user_id: int) -> bool | None:
        """Tell whether a watched user is online; None when that is not known."""
        return self._core.online(user_id)

    def follow(self, group_id: str, seq: int = 0) -> None:
        """Keep up with a group: all above `seq` comes as `Message`, whatever was missed."""
        self._run(lambda now: self._core.follow(group_id, seq, now))

    # What the core wants done

    def _must_be_open(self) -> None:
        if self._closed:
            raise SkyeError("closed", "this client was closed")

    def _run(self, change: Callable[[float], None]) -> None:
        """Make a change of the core, then do all that follows from it."""
        change(time.monotonic())
        if self._running:  # a handler of an event has called us: the outer call goes on
            return
        self._running = True
        try:
            while effects := self._core.take():
                for effect in effects:
                    self._perform(effect)
        finally:
            self._running = False
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        pause = min(self._core.deadline(now) - now, LONGEST_TIMER)
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(pause, 0), self._run, self._core.tick)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case GetToken(fresh):
                self._start(self._get_token(fresh))
            case Open(query, token):
                self._open(query, token)
            case Write(text):
                if self._link is not None:
                    self._link.write(text)
            case Drop():
                self._drop()
            case Sync(group_id, seq):
                self._start(self._sync(group_id, seq))
            case Settle(msg_id, outcome):
                self._settle(msg_id, outcome)
            case Emit(event):
                self._handlers.tell(event)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._keep(asyncio.create_task(work))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open(self, query: Mapping[str, str], token: str) -> None:
        self._drop()
        url = self.api.base.replace("http", "ws", 1)
        link = Link(
            f"{url}/ws?{urlencode({**query, **self._device})}",
            token,
            self._ssl,
            lambda text: self._run(lambda now: self._core.frame(text, now)),
            lambda code, reason: self._run(lambda now: self._core.closed(code, reason, now)),
        )
        self._link = link
        self._keep(link.open())

    def _drop(self) -> None:
        if self._link is not None:
            self._link.drop()
            self._link = None

    async def _get_token(self, fresh: bool) -> None:
        try:
            token = await self.api.token(fresh)
        except (Exception, asyncio.CancelledError) as error:
            if self._closed:
                raise
            # Also where a task of the application's was cancelled, and not this one.
            failed = SkyeError("no_token", f"no token: {error}")
            self._run(lambda now: self._core.token_failed(failed, now))
        else:
            self._run(lambda now: self._core.token_is(token, now))

    async def _sync(self, group_id: str, seq: int) -> None:
        try:
            page = await self.api.sync(group_id, seq)
        except SkyeError as error:
            lost = error.reason in _LOST
            self._run(lambda now: self._core.sync_failed(group_id, lost, now))
        else:
            self._run(lambda now: self._core.synced(group_id, page.messages, page.has_more, now))

    def _settle(self, msg_id: str, outcome: Sent | SkyeError) -> None:
        sent = self._sends.pop(msg_id, None)
        if sent is None or sent.done():  # of an earlier client, or nobody waits any more
            return
        if isinstance(outcome, Sent):
            sent.set_result(outcome)
        else:
            sent.set_exception(outcome)
