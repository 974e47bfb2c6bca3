"""What a client does, decided without sockets, timers or clocks: calls go in, effects come out.

Times are seconds of any clock that does not go back. After each call `take()` has the effects, in
order, and `deadline()` is when `tick` wants to be called next.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from skyeim_ws.client.effects import Effect, Emit, Settle, Sync, frame
from skyeim_ws.client.events import (
    AnyEvent,
    Connected,
    Delivered,
    Event,
    Failed,
    GroupLost,
    Kicked,
    Message,
    Problem,
    Read,
    Sent,
    State,
)
from skyeim_ws.client.groups import Groups
from skyeim_ws.client.inbox import Inbox, Recent
from skyeim_ws.client.life import Life, Settings
from skyeim_ws.client.marks import Marks
from skyeim_ws.client.outbox import Outbox
from skyeim_ws.client.rules import SkyeError, backoff
from skyeim_ws.client.shapes import is_whole
from skyeim_ws.client.talk import Talk
from skyeim_ws.contract.codes import UNKNOWN_TYPE

PULL_LIMIT = 100


class Core:
    """One user's client; `state` is what `snapshot` of an earlier one returned."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        queue_limit: int = 1000,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        settings, state = settings or Settings(), state or {}
        self.user_id: int | None = None
        self._effects: list[Effect] = []
        self._life = Life(settings, self._effects, self._ended)
        self._outbox = Outbox(queue_limit, settings.random)
        self._seen = Recent()
        self._inbox = Inbox(self._seen, state.get("resume"))
        self._groups = Groups(lambda failures: backoff(failures, settings.random))
        self._talk = Talk()
        self._marks = Marks()
        newest_ids = state.get("groupIds", {})
        for group_id, seq in state.get("groups", {}).items():
            self._groups.follow(group_id, seq, newest_ids.get(group_id, 0))
        for kept in state.get("pending", ()):
            self._keep(kept["type"], kept["data"])

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self._life.state

    @property
    def stopped(self) -> str:
        """Why the client has stopped; empty while it has not."""
        return self._life.reason

    @property
    def waiting(self) -> int:
        """How many messages of ours have no answer yet."""
        return len(self._outbox)

    def take(self) -> list[Effect]:
        """Return what is to be done, and keep none of it."""
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def snapshot(self) -> dict[str, Any]:
        """Return what to pass as `state` to go on after a restart."""
        resume = {} if self._inbox.newest_id is None else {"resume": self._inbox.newest_id}
        groups = {"groups": self._groups.positions(), "groupIds": self._groups.newest_ids()}
        return resume | groups | {"pending": self._outbox.pending()}

    # The connection

    def start(self, now: float) -> None:
        """Connect, unless that is under way."""
        self._life.start(now)

    def stop(self, reason: str) -> None:
        """Confirm what has come, and end for good."""
        if self._life.open:
            self._write_acks(math.inf)
        self._life.stop(reason)

    def wake(self, now: float) -> None:
        """Do not wait for the next attempt, or for the next ping."""
        self._life.wake(now)

    def token_is(self, token: str, now: float) -> None:
        """Take the token that was asked for."""
        newest = self._inbox.newest_id
        resume = {} if newest is None else {"resume": str(newest)}
        self._life.token_is(token, {"confirm": "ack"} | resume, now)

    def token_failed(self, error: SkyeError, now: float) -> None:
        """Note that no token could be got."""
        self._life.token_failed(error, now)

    def closed(self, code: int, reason: str, now: float) -> None:
        """Note that the connection has ended, or was refused with the HTTP status `code`."""
        self._life.closed(code, reason, now)

    def abandon(self, error: SkyeError) -> None:
        """Give up what was not sent; for the end of the client."""
        self._effects += [Settle(msg_id, error) for msg_id in self._outbox.clear()]

    def _ended(self) -> None:
        self._outbox.lost()
        self._emit(*self._talk.lost())

    def _connected(self, data: dict[str, Any], now: float) -> None:
        self.user_id = data["userId"]
        self._life.connected(data.get("connectedAt", 0), now)
        self._inbox.connected(now)
        self._groups.connected()
        self._talk.presence.connected(now)
        self._emit(
            Connected(
                user_id=data["userId"],
                online_count=data.get("onlineCount", 0),
                conn_id=data.get("connId", ""),
                server=data.get("server", ""),
            )
        )
        self._write_marks()

    # What comes

    def frame(self, text: str, now: float) -> None:
        """Take a frame; what is none of this protocol, or lacks a field, is ignored."""
        self._life.heard()
        try:
            read = json.loads(text)
            kind, data = read["type"], read.get("data") or {}
            if not is_whole(kind, data):
                raise ValueError
            if kind == "connected" and self.state is State.CONNECTING:
                self._connected(data, now)
            elif self._life.open:
                self._dispatch(kind, data, now)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self._emit(Problem(0, "the server has sent what is no frame"))
        self._flush(now)

    def _dispatch(self, kind: str, data: dict[str, Any], now: float) -> None:
        match kind:
            case "chat":
                self._show(self._inbox.take(Message.of(data), now))
            case "group_chat":
                message = Message.of(data)
                taken = self._groups.take(message.group_id, message.seq, message.id, message)
                self._show_group(taken)
            case "group_behind":
                self._groups.behind(data["groupId"], data["seq"])
            case "offline_messages":
                self._inbox.window(data["pushCount"], data["hasMore"], now)
            case "ack":
                self._ack(data, now)
            case "read":
                named = data.get("msgIds")
                self._emit(Read(data["userId"], None if named is None else tuple(named)))
            case "token":
                self._life.renewed(data["expiresAt"], now)
            case "error":
                self._error(data, now)
            case "pong":
                pass
            case "kicked":
                self._emit(Kicked(data.get("reason", "")))
            case _:
                told = self._talk.take(kind, data, now)
                self._emit(*([Event(kind, data)] if told is None else told))

    def _show(self, messages: list[Message]) -> None:
        for message in messages:
            self._emit(*self._talk.typing.wrote(message), message)

    def _show_group(self, messages: list[Message]) -> None:
        self._show([message for message in messages if self._seen.add(message.msg_id)])

    def _ack(self, data: dict[str, Any], now: float) -> None:
        msg_id = data["msgId"]
        if data["status"] == "delivered":
            self._emit(Delivered(msg_id))
        elif data["status"] == "read":
            self._emit(Read(None, (msg_id,)))
        answer = self._outbox.answered(data, now)
        if answer is None:
            return
        entry, error = answer
        if error is not None:
            self._emit(Failed(msg_id, error.reason, error.code))
            self._effects.append(Settle(msg_id, error))
            return
        sent = Sent(msg_id, data.get("id", 0), data.get("timestamp", 0), data.get("seq", 0))
        self._emit(sent)
        self._effects.append(Settle(msg_id, sent))
        # Our own messages count as well; those of others may have waited for this one.
        if sent.seq:
            self._show_group(self._groups.take(entry.data["groupId"], sent.seq, sent.id))

    def _error(self, data: dict[str, Any], now: float) -> None:
        code = data.get("code", 0)
        if data.get("msgId") in self._outbox:  # it is tried again
            return
        if self._inbox.refused(code, now):
            return
        if code == UNKNOWN_TYPE:
            self._life.cannot_renew()
        self._emit(Problem(code, data.get("message", ""), data.get("msgId")))

    # What goes

    def send(self, kind: str, data: dict[str, Any], now: float) -> None:
        """Keep a message, and write it as soon as it may go; SkyeError when too many wait."""
        self._keep(kind, data)
        self._talk.typing.sent(data.get("groupId") or data["toUserId"])
        self._flush(now)

    def _keep(self, kind: str, data: dict[str, Any]) -> None:
        self._outbox.add(kind, data)
        self._seen.add(data["msgId"])

    def read(self, peer_id: int, msg_ids: Iterable[str] | None) -> None:
        """Mark messages of a peer as read: all, if `msg_ids` is None."""
        self._marks.read(peer_id, msg_ids)
        self._write_marks()

    def read_group(self, group_id: str, seq: int) -> None:
        """Mark a group as read up to a seq."""
        self._marks.read_group(group_id, seq)
        self._write_marks()

    def _write_marks(self) -> None:
        if self._life.open:
            for kind, data in self._marks.take():
                self._write(kind, data)

    def tell_typing(self, target: dict[str, Any], now: float) -> None:
        """Tell a user or a group that the user is typing, if that was not told just now."""
        key = target.get("groupId") or target["toUserId"]
        if self._life.open and self._talk.typing.may_tell(key, now):
            self._write("typing", target)

    def watch(self, user_ids: Iterable[int], now: float) -> None:
        """Follow the presence of users."""
        self._talk.presence.watch(user_ids, now)
        self._flush(now)

    def online(self, user_id: int) -> bool | None:
        """Tell whether a watched user is online; None when that is not known."""
        return self._talk.presence.of(user_id)

    def follow(self, group_id: str, seq: int, now: float) -> None:
        """Keep up with a group from a seq on."""
        self._groups.follow(group_id, seq)
        self._flush(now)

    def synced(self, group_id: str, messages: list[Message], has_more: bool, now: float) -> None:
        """Take the answer to a `Sync`."""
        self._show_group(self._groups.synced(group_id, messages, has_more, now))
        self._flush(now)

    def sync_failed(self, group_id: str, lost: bool, now: float) -> None:
        """Note that a sync has failed; `lost`: for good, since the user is no member."""
        if lost:
            self._groups.unfollow(group_id)
            self._emit(GroupLost(group_id))
        else:
            self._groups.failed(group_id, now)
        self._flush(now)

    # Time

    def deadline(self, now: float) -> float:
        """Return when `tick` is to be called next; infinity for never."""
        always = min(self._life.deadline(), self._talk.typing.deadline())
        if not self._life.open:
            return always
        return min(
            always,
            self._outbox.deadline(now),
            self._inbox.deadline(),
            self._groups.deadline(),
            self._talk.presence.deadline(),
        )

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._life.tick(now)
        self._emit(*self._talk.typing.expired(now))
        self._flush(now)

    def _flush(self, now: float) -> None:
        """Write what may go: one thing may have made room for another."""
        if not self._life.open:
            return
        self._show(self._inbox.release(now))
        self._write_acks(now)
        if self._inbox.pull_due(now):
            # What has come is confirmed first: the server keeps only so many in the air.
            self._write_acks(math.inf)
            self._write("offline_pull", {"limit": PULL_LIMIT})
        for user_ids in self._talk.presence.due(now):
            self._write("presence", {"userIds": user_ids})
        for entry in self._outbox.due(now):
            self._write(entry.type, entry.data)
        self._effects += [Sync(*group) for group in self._groups.due(now)]

    def _write_acks(self, now: float) -> None:
        for data in self._inbox.acks_due(now):
            self._write("ack", data)

    def _write(self, kind: str, data: Mapping[str, Any]) -> None:
        self._effects.append(frame(kind, data))

    def _emit(self, *events: AnyEvent) -> None:
        self._effects += [Emit(event) for event in events]
