"""What the terminal client decides: lines in, frames in, and what follows; it does no IO."""

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from skyeim_ws.contract.codes import CloseCode, Reason
from skyeim_ws.contract.names import MAX_CONTENT
from skyeim_ws.contract.texts import explanation

MAX_ATTEMPTS = 5
REMEMBERED = 1000
"""How many msgIds are remembered, to show a message that comes twice once."""

BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

_TRANSIENT = {Reason.BUSY, Reason.RATE_LIMITED, Reason.RPC_ERROR}
NO_RECONNECT = {
    CloseCode.KICKED: "you have logged in elsewhere",
    CloseCode.PROTOCOL_ERROR: "protocol error",
    CloseCode.UNSUPPORTED_DATA: "binary frame",
    CloseCode.INVALID_PAYLOAD: "bad UTF-8",
    CloseCode.MESSAGE_TOO_BIG: "the message was too large",
}
_AT_LEISURE = {CloseCode.INTERNAL_ERROR, CloseCode.OVERLOADED, CloseCode.FLOODING}
_RETRY_AFTER = re.compile(r"retry_after_ms=([0-9]{1,9})")
_CONTENT_NAMES = {2: "picture", 3: "file", 4: "voice", 5: "video"}
_HINT = "* commands: /to N, /group G, /read, /quit; // at the start sends a single /"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom lines are sent to: a user, or a group, or nobody yet."""

    user_id: int = 0
    group_id: str = ""


@dataclass(slots=True)
class Unacked:
    """A message that waits for its `sent`; the frame is kept so that a retry has the same msgId."""

    frame: str
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a line or a frame: lines to show, frames to send, a msgId to retry."""

    show: tuple[str, ...] = ()
    send: tuple[str, ...] = ()
    retry: str = ""
    quit: bool = False


def _parse(text: str | bytes) -> tuple[str, dict[str, Any]]:
    """Return type and data of a frame; an empty type for what is not a frame."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return "", {}
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        return "", {}
    data = frame.get("data")
    return frame["type"], data if isinstance(data, dict) else {}


def _frame(kind: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "data": data}, ensure_ascii=False, separators=(",", ":"))


def clean(value: object) -> str:
    """Return text from elsewhere without what could steer the terminal."""
    text = str(value).replace("\r\n", "\n")
    return "".join(c if c.isprintable() else "\n    " if c == "\n" else "\ufffd" for c in text)


@dataclass(slots=True)
class Conversation:
    """What the client knows and decides; it neither reads nor writes."""

    target: Target = Target()
    unacked: dict[str, Unacked] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    group_seqs: dict[str, int] = field(default_factory=dict)
    last_id: int = 0
    failed: bool = False

    def typed(self, line: str) -> Step:
        """Take a line that the user has typed."""
        text = line.strip()
        if not text:
            return Step()
        if text.startswith("/") and not text.startswith("//"):
            return self._command(text)
        return self._message(text.removeprefix("/"))

    def _command(self, text: str) -> Step:
        command, _, argument = text.partition(" ")
        argument = argument.strip()
        if command == "/quit":
            return Step(quit=True)
        if command == "/read":
            return self._mark_read()
        if command == "/to" and argument.isascii() and argument.isdigit() and int(argument):
            self.target = Target(user_id=int(argument))
            return Step(show=(f"* writing to user {argument}",))
        if command == "/group" and 1 <= len(argument) <= 64:
            self.target = Target(group_id=argument)
            return Step(show=(f"* writing to group {clean(argument)}",))
        return Step(show=(_HINT,))

    def _message(self, content: str) -> Step:
        if self.target == Target():
            return Step(show=("* whom to? choose with /to N or /group G",))
        if len(content) > MAX_CONTENT:
            return Step(show=(f"✗ not sent: longer than {MAX_CONTENT} characters",))
        msg_id = uuid.uuid4().hex
        data: dict[str, Any] = {"msgId": msg_id, "content": content}
        if self.target.group_id:
            frame = _frame("group_chat", {"groupId": self.target.group_id, **data})
        else:
            frame = _frame("chat", {"toUserId": self.target.user_id, **data})
        self.unacked[msg_id] = Unacked(frame)
        self._remember(msg_id)  # a group may echo what was sent to it
        return Step()

    def _mark_read(self) -> Step:
        if self.target.group_id:
            seq = self.group_seqs.get(self.target.group_id, 0)
            data = {"groupId": self.target.group_id, "readSeq": seq}
            return Step(send=(_frame("group_read", data),) if seq else ())
        if self.target.user_id:
            return Step(send=(_frame("read", {"peerId": self.target.user_id}),))
        return Step(show=("* whom from? choose with /to N or /group G",))

    def received(self, text: str | bytes) -> Step:
        """Take a frame from the gateway; what is not a frame is ignored."""
        kind, data = _parse(text)
        match kind:
            case "chat" | "group_chat":
                return self._incoming(kind, data)
            case "ack":
                return self._ack(data)
            case "error" if not data.get("msgId"):
                return Step(show=(f"! error {data.get('code')}: {clean(data.get('message'))}",))
            case "" | "error" | "pong" | "presence":  # a failed ack came before such an error
                return Step()
        return Step(show=(f"* {_notice(kind, data)}",))

    def _incoming(self, kind: str, data: dict[str, Any]) -> Step:
        msg_id = str(data.get("msgId", ""))
        reply: tuple[str, ...] = ()
        where = ""
        if kind == "chat":
            # Again for a duplicate: it came because the first ack did not arrive.
            reply = (_frame("ack", {"msgId": msg_id, "status": "delivered"}),)
            self.last_id = max(self.last_id, _int(data.get("id")))
        else:
            group_id = str(data.get("groupId", ""))
            seq = max(self.group_seqs.get(group_id, 0), _int(data.get("seq")))
            self.group_seqs[group_id] = seq
            where = f"{clean(group_id)} "
        if msg_id in self.seen:
            return Step(send=reply)
        self._remember(msg_id)
        content = clean(data.get("content", ""))
        named = _CONTENT_NAMES.get(_int(data.get("contentType")))
        line = f"{where}{clean(data.get('fromUserId'))}: {f'[{named}] ' if named else ''}{content}"
        return Step(show=(line,), send=reply)

    def _ack(self, data: dict[str, Any]) -> Step:
        msg_id, status = str(data.get("msgId", "")), data.get("status")
        if status in ("delivered", "read"):
            return Step(show=(f"✓✓ {status}",))
        waiting = self.unacked.get(msg_id)
        if waiting is None:  # a second answer, to a retry
            return Step()
        reason = str(data.get("reason", ""))
        if status == "failed" and reason in _TRANSIENT and waiting.attempts < MAX_ATTEMPTS:
            return Step(retry=msg_id)
        del self.unacked[msg_id]
        if status == "sent":
            return Step(show=("✓ sent",))
        self.failed = True
        known = str(explanation(Reason(reason))) if reason in set(Reason) else clean(reason)
        return Step(show=(f"✗ not sent: {known}",))

    def _remember(self, msg_id: str) -> None:
        self.seen[msg_id] = None
        if len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _notice(kind: str, data: dict[str, Any]) -> str:
    user = clean(data.get("userId"))
    notices = {
        "connected": f"connected as {user}, {clean(data.get('onlineCount'))} online",
        "online": f"{user} is online",
        "offline": f"{user} is offline",
        "typing": f"{clean(data.get('fromUserId'))} is typing",
        "read": f"{user} has read your messages",
        "kicked": f"kicked: {clean(data.get('reason'))}",
        "offline_messages": f"while you were away: {clean(data.get('totalCount'))} messages",
    }
    return notices.get(kind) or f"{clean(kind)} {clean(json.dumps(data, ensure_ascii=False))}"


def reconnect_delay(code: int | None, reason: str, attempt: int, jitter: float) -> float | None:
    """Return the seconds to wait before reconnecting, or None where the close code forbids it.

    `attempt` counts from 0 the connections that did not last; `jitter` lies between 0 and 1.
    """
    if code in NO_RECONNECT:
        return None
    told = _RETRY_AFTER.search(reason)
    if code == CloseCode.GOING_AWAY and told:
        return min(int(told[1]) / 1000, MAX_BACKOFF_SECONDS) + BACKOFF_SECONDS * jitter
    if code in _AT_LEISURE:
        attempt += 2
    ceiling = min(BACKOFF_SECONDS * 2.0 ** min(attempt, 10), MAX_BACKOFF_SECONDS)
    return ceiling * (0.5 + jitter / 2)
