"""What others must hear after a change is committed: stale member caches, then pushes.

The caller only appends to a bounded queue; one task empties it in order, so that no RPC waits
for Redis or a gateway, and nobody hears of a change whose cached members are still the old ones.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import structlog
from redis.exceptions import RedisError
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.services.counters import SeqCounters
from skyeim_ws.services.shared_redis import REDIS_DEADLINE, SharedRedis, open_redis

QUEUE_SIZE = 1_000
"""Events that may wait; more are dropped, with a log event."""

STALE_SIZE = 10_000
"""Groups whose member cache may wait to be deleted; these outlive the event that named them."""

PUSH_DEADLINE = 2.0
CLOSE_DEADLINE = 2.0
CANCEL_AGAIN = 0.1
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0

Push = Mapping[str, object]
"""The JSON body of one push call."""

log = structlog.get_logger()


class _TryLaterError(Exception):
    """A target did not do its part now and may do so later."""


@dataclass(frozen=True, slots=True)
class _Event:
    pushes: deque[Push]
    give_up_at: float


def to_group(group_id: str, event_type: str, data: Mapping[str, object]) -> Push:
    """Return the push of an event to all online members of a group."""
    return {"type": "group", "groupId": group_id, "eventType": event_type, "eventData": data}


def to_user(user_id: int, notification_type: str, data: Mapping[str, object]) -> Push:
    """Return the push of a notification to one user."""
    return {"type": "user", "userId": user_id, "notificationType": notification_type, "data": data}


class Events:
    """Tells Redis and a gateway what has changed; either may be None. Construct it on the loop.

    `patience` is how long, in seconds from `publish`, an event is tried while a target is away.
    """

    def __init__(
        self,
        redis: RedisAddress | None = None,
        push_url: str | None = None,
        secret: str | None = None,
        *,
        patience: float = 30.0,
    ) -> None:
        self._patience = patience
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(QUEUE_SIZE)
        self._stale: set[str] = set()
        self._troubled = False
        self._redis: SharedRedis | None = None
        self._counters: SeqCounters | None = None
        if redis is not None:
            self._redis = open_redis(redis)
            self._counters = SeqCounters(self._redis)
        self._http: SimpleAsyncHTTPClient | None = None
        self._push_url = ""
        self._headers = {"Content-Type": "application/json"}
        if push_url is not None:
            self._http = SimpleAsyncHTTPClient(force_instance=True)
            self._push_url = push_url.rstrip("/") + "/api/push"
        if secret:
            self._headers["X-Skyeim-Push-Secret"] = secret
        self._task: asyncio.Task[None] | None = None
        if self._redis is not None or self._http is not None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    def publish(self, *pushes: Push, members_of: str = "") -> None:
        """Queue the pushes of one committed change, in order; never waits.

        `members_of` names the group whose cached members the change has made stale.
        """
        if self._redis is not None and members_of:
            if len(self._stale) < STALE_SIZE:
                self._stale.add(members_of)
            else:
                log.error("member_cache_left_stale", group_id=members_of, cause="queue_full")
        if self._task is None:
            return
        wanted = deque(pushes) if self._http is not None else deque[Push]()
        give_up_at = asyncio.get_running_loop().time() + self._patience
        try:
            self._queue.put_nowait(_Event(wanted, give_up_at))
        except asyncio.QueueFull:
            log.warning("event_dropped", cause="queue_full", pushes=_kinds(wanted))

    def reached(self, last_seqs: Mapping[str, int]) -> None:
        """Note the seq, by group id, that groups have reached in the database; never waits.

        The counters in Redis follow; they are never lowered.
        """
        if self._counters is not None:
            self._counters.note(last_seqs)

    async def close(self) -> None:
        """Deliver what can be delivered within 2 s, then stop."""
        if self._counters is not None:
            await self._counters.close(CLOSE_DEADLINE)
        if self._task is not None:
            try:
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await self._queue.join()
            except TimeoutError:
                log.warning("events_lost_at_close", events=self._queue.qsize() + 1)
            while not self._task.done():
                # redis-py sends through asyncio.wait_for, which before Python 3.12 loses a
                # cancellation that comes just as the send is done.
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CANCEL_AGAIN)
            self._task = None
        if self._stale:
            log.warning("member_caches_left_stale", group_ids=sorted(self._stale)[:100])
        if self._http is not None:
            self._http.close()
        if self._redis is not None:
            await self._redis.aclose()

    async def _drain(self) -> None:
        while True:
            try:
                # A cache that could not be deleted is tried again without a new event.
                async with asyncio.timeout(LONGEST_PAUSE if self._stale else None):
                    event = await self._queue.get()
            except TimeoutError:
                await self._retry_stale()
                continue
            try:
                await self._deliver(event)
            except Exception:
                log.exception("event_failed", pushes=_kinds(event.pushes))
            finally:
                self._queue.task_done()

    async def _retry_stale(self) -> None:
        try:
            await self._forget_members()
        except _TryLaterError as error:
            self._note_trouble(str(error))
        else:
            self._note_recovery()

    async def _deliver(self, event: _Event) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            try:
                await self._forget_members()
                while event.pushes:
                    await self._push(event.pushes[0])
                    event.pushes.popleft()
            except _TryLaterError as error:
                self._note_trouble(str(error))
                if loop.time() + pause > event.give_up_at:
                    log.warning("event_dropped", cause=str(error), pushes=_kinds(event.pushes))
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._note_recovery()
                return

    async def _forget_members(self) -> None:
        """Delete all stale caches at once: those of later events are committed as well."""
        if self._redis is None or not self._stale:
            return
        # A group that goes stale again during the call needs another one.
        stale, self._stale = self._stale, set()
        try:
            async with asyncio.timeout(REDIS_DEADLINE):
                await self._redis.delete(*(f"im:group:members:{group_id}" for group_id in stale))
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._stale |= stale
            raise _TryLaterError(f"redis: {type(error).__name__}") from error
        except asyncio.CancelledError:
            self._stale |= stale
            raise

    async def _push(self, push: Push) -> None:
        if self._http is None:
            return
        request = HTTPRequest(
            self._push_url,
            method="POST",
            headers=self._headers,
            body=msgspec.json.encode(push),
            connect_timeout=PUSH_DEADLINE,
            request_timeout=PUSH_DEADLINE,
            follow_redirects=False,
        )
        try:
            await self._http.fetch(request)
        except HTTPClientError as error:
            # 599 is Tornado's code for no answer at all.
            if error.code >= 500 or error.code in (408, 429):
                raise _TryLaterError(f"push: HTTP {error.code}") from error
            log.error("push_refused", status=error.code, push=_kind(push))
        except OSError as error:
            raise _TryLaterError(f"push: {type(error).__name__}") from error

    def _note_trouble(self, cause: str) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning("events_delayed", cause=cause, waiting=self._queue.qsize())

    def _note_recovery(self) -> None:
        if self._troubled:
            self._troubled = False
            log.info("events_flow_again")


def _kind(push: Push) -> object:
    return push.get("eventType") or push.get("notificationType")


def _kinds(pushes: deque[Push]) -> list[object]:
    return [_kind(push) for push in pushes]
