"""A user of the SDK in Python, driven as `person.mjs` is: commands come in, events go out."""

import asyncio
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from websockets.asyncio.client import ClientConnection, connect

import skyeim_ws.client as sdk
from skyeim_ws.client import link

NULLABLE = {"online", "userId", "msgIds"}
"""Fields whose None means something; others that are None are absent in JavaScript."""

OF_SOME = {"groupId", "seq", "atUserIds", "toUserId"}
"""Fields that are absent there where they are empty here."""

EVENTS: dict[type, str] = {
    sdk.StateChanged: "state",
    sdk.Connected: "connected",
    sdk.Message: "message",
    sdk.Sent: "sent",
    sdk.Failed: "failed",
    sdk.Delivered: "delivered",
    sdk.Read: "read",
    sdk.Typing: "typing",
    sdk.Presence: "presence",
    sdk.GroupLost: "group_lost",
    sdk.Kicked: "kicked",
    sdk.Event: "event",
    sdk.Problem: "error",
}


def say(event: str, data: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, "data": data}) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Return what the SDK has told in the words of the one in JavaScript."""
    if isinstance(value, sdk.Page):
        return {"list": [plain(each) for each in value.messages], "hasMore": value.has_more}
    if isinstance(value, tuple):
        return list(value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = {
        _camel(field.name): plain(getattr(value, field.name)) for field in dataclasses.fields(value)
    }
    return {
        name: each
        for name, each in fields.items()
        if (each or name not in OF_SOME) and (each is not None or name in NULLABLE)
    }


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.title() for part in others)


class Watched(ClientConnection):
    """Tells what the SDK hides from the application, so that a test sees that it was there."""

    async def recv(self, decode: bool | None = None) -> Any:
        text = await super().recv(decode)
        if str(text).startswith(('{"type":"ack"', '{"type":"group_behind"')):
            frame = json.loads(text)
            if frame["type"] == "group_behind":
                say("group_behind", frame["data"])
            elif frame["data"]["status"] == "failed":
                say("refused", frame["data"])
        return text


def commands(client: sdk.SkyeIM) -> dict[str, Callable[[dict[str, Any]], Any]]:
    def send(draft: dict[str, Any]) -> Any:
        return client.send(
            draft["content"],
            to=draft.get("to"),
            group_id=draft.get("groupId"),
            at_user_ids=draft.get("atUserIds", ()),
            msg_id=draft.get("msgId", ""),
        )

    return {
        "connect": lambda _: client.connect(),
        "retry": lambda _: client.retry(),
        "clock": lambda data: set_clock(data["ahead"] / 1000),
        "send": send,
        "read": lambda data: client.read(data["peerId"], data["msgIds"]),
        "typing": lambda data: client.typing(to=data.get("to"), group_id=data.get("groupId")),
        "watch": lambda data: client.watch(data["userIds"]),
        "follow": lambda data: client.follow(data["groupId"], data["seq"]),
        "snapshot": lambda _: client.snapshot(),
        "api": lambda data: getattr(client.api, data["call"])(
            **{
                "peer_id" if name == "peerId" else name: each
                for name, each in data["query"].items()
            }
        ),
    }


def set_clock(ahead: float) -> None:
    """Set the clock of the machine, as far as this process sees it."""
    now = time.time
    time.time = lambda: now() + ahead


async def never() -> Any:
    return await asyncio.get_running_loop().create_future()


async def cancelled() -> Any:
    task = asyncio.create_task(never())
    task.cancel()
    return await task


def throws() -> str:
    raise OSError("no network")


MISTAKES: dict[str, Callable[[], Any]] = {
    "!throws": throws,
    "!never": never,
    "!nothing": lambda: None,
    "!lines": lambda: "two\r\nlines",
    "!cancelled": cancelled,
}
"""What applications give by mistake, by the name of the mistake."""


def fresh(tokens: list[str]) -> Any:
    token = tokens.pop(0) if tokens[1:] else tokens[0]
    say("asked", {})
    return MISTAKES[token]() if token in MISTAKES else token


async def answer(line: bytes, known: dict[str, Callable[[dict[str, Any]], Any]]) -> None:
    command = json.loads(line)
    try:
        result = known[command["name"]](command["data"])
        if asyncio.isfuture(result) or asyncio.iscoroutine(result):
            result = await result
        say("answer", {"id": command["id"], "result": plain(result)})
    except sdk.SkyeError as error:
        say("answer", {"id": command["id"], "reason": error.reason, "code": error.code})


async def main(settings: dict[str, Any]) -> None:
    tokens: list[str] = settings["tokens"]
    client = sdk.SkyeIM(
        settings["url"],
        tokens[0] if settings.get("fixed") else lambda _: fresh(tokens),
        state=settings.get("state"),
        ping_interval=settings["pingInterval"] / 1000,
        pong_timeout=settings.get("pongTimeout", 10_000) / 1000,
        queue_limit=settings.get("queueLimit", 1000),
    )
    for kind in EVENTS:
        client.on(kind, lambda event: say(EVENTS[type(event)], plain(event)))
    known, running = commands(client), set()
    lines = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := await lines.readline():
        task = asyncio.create_task(answer(line, known))
        running.add(task)
        task.add_done_callback(running.discard)
    pipe.close()
    await client.close()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


if __name__ == "__main__":
    watched = functools.partial(connect, create_connection=Watched)
    with mock.patch.object(link, "connect", watched):
        asyncio.run(main(json.loads(sys.argv[1])))
