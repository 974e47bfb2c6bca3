"""A core that a test drives by hand: frames in, effects out, the clock in its hands."""

import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

from skyeim_ws.client.core import Core
from skyeim_ws.client.effects import Effect, Emit, Open, Write
from skyeim_ws.client.events import AnyEvent, State
from skyeim_ws.client.life import Settings

F = TypeVar("F", bound=Effect)
E = TypeVar("E", bound=AnyEvent)


class Bench:
    def __init__(
        self,
        *,
        state: dict[str, Any] | None = None,
        queue_limit: int = 1000,
        random: Callable[[], float] = lambda: 0.5,
        **settings: Any,
    ) -> None:
        self.now = 1000.0
        self.clock_ahead = 0.0
        made = Settings(random=random, wall=lambda: self.now + self.clock_ahead, **settings)
        self.core = Core(made, queue_limit=queue_limit, state=state)

    def is_in(self, state: State) -> bool:
        return self.core.state is state

    def effects(self, kind: type[F]) -> list[F]:
        """Return the effects of a kind since the last call."""
        return [effect for effect in self.core.take() if isinstance(effect, kind)]

    def written(self) -> list[dict[str, Any]]:
        """Return what was written since the last call, decoded; pings are left out."""
        frames = [json.loads(effect.text) for effect in self.effects(Write)]
        return [frame for frame in frames if frame["type"] != "ping"]

    def sent(self) -> list[str]:
        """Return the msgIds of the messages that were written since the last call."""
        return [each["data"]["msgId"] for each in self.written() if "chat" in each["type"]]

    def events(self, kind: type[E]) -> list[E]:
        """Return the events of a kind since the last call."""
        found = [effect.event for effect in self.effects(Emit)]
        return [event for event in found if isinstance(event, kind)]

    def frame(self, kind: str, **data: Any) -> None:
        self.core.frame(json.dumps({"type": kind, "data": data}), self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a tick at every deadline on the way."""
        end = self.now + seconds
        while (deadline := self.core.deadline(self.now)) <= end:
            self.now = max(self.now, deadline)
            self.core.tick(self.now)
        self.now = end

    def jump(self, seconds: float) -> None:
        """Let time pass, and tick once at its end."""
        self.now += seconds
        self.core.tick(self.now)

    def connect(self, token: str = "t", **more: Any) -> dict[str, str]:
        """Connect; return the query."""
        if self.is_in(State.IDLE):
            self.core.start(self.now)
        assert self.is_in(State.TOKEN)
        self.core.take()
        self.core.token_is(token, self.now)
        (opened,) = self.effects(Open)
        self.frame("connected", userId=1001, **more)
        assert self.is_in(State.OPEN)
        return dict(opened.query)

    def lose(self, code: int = 1006, reason: str = "") -> None:
        self.core.closed(code, reason, self.now)

    def reconnect(self) -> dict[str, str]:
        self.lose()
        self.pass_time(60)
        return self.connect()

    def send(self, msg_id: str, to: int = 1002) -> None:
        data = {"toUserId": to, "content": "hello", "contentType": 1, "msgId": msg_id}
        self.core.send("chat", data, self.now)

    def ack(self, msg_id: str, status: str = "sent", **more: Any) -> None:
        self.frame("ack", msgId=msg_id, status=status, timestamp=1, **more)

    def chat(self, number: int) -> None:
        """Let a private message come."""
        self.frame("chat", id=number, msgId=f"m{number}", fromUserId=1002, content="x")


def group_chat(seq: int, msg_id: str = "", message_id: int = 0) -> dict[str, Any]:
    shared = {"fromUserId": 1002, "groupId": "g", "content": "x"}
    return {"id": message_id or 100 + seq, "msgId": msg_id or f"g{seq}", "seq": seq} | shared


def token_until(expires_at: float) -> str:
    """Return a token that says when it expires, in Unix seconds."""
    payload = json.dumps({"exp": int(expires_at)}).encode()
    return f"h.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.s"
