"""The session in docs/protocol.md is one that takes place: here.

`TRANSCRIPT=write` writes it anew.
"""

import json
import os
import re
from typing import Any

import pytest

from tests.gateway.conftest import MakeWorld
from tests.world import User, World
from tools.api.__main__ import DOCS

GUIDE = DOCS / "protocol.md"
BLOCK = re.compile(r"(?<=^```text\n)(?=# Of two friends).*?(?=^```$)", re.M | re.S)

CHANGING = {
    "connId": "01a21a7241e8780ea6646b0bf8e04faa",
    "connectedAt": 1795478606,
    "createdAt": 1795478606,
    "timestamp": 1795478606,
}
"""What no two sessions have in common."""


class Transcript:
    """Writes down what its users do and get."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Write a line."""
        self.lines.append(line)

    async def connects(self, user_id: int, expected: int, **query: Any) -> User:
        """Connect, and write down so many frames."""
        more = "".join(f"&{name}={value}" for name, value in query.items())
        self.note(f"{user_id} connects to /ws?token=<JWT>{more}")
        url = self.world.url(user_id, **query)
        user = await self.world.dial(user_id, url=url)
        await self.gets(user, expected)
        return user

    async def sends(self, user: User, kind: str, **data: Any) -> None:
        """Send a frame."""
        self.note(f"{user.user_id} > {compact({'type': kind, 'data': data})}")
        await user.send(kind, **data)

    async def gets(self, user: User, count: int = 1) -> None:
        """Write down what comes; who is online is told at any time, and left out."""
        while count:
            frame = await user.receive()
            if frame["type"] not in ("online", "offline"):
                self.note(f"{user.user_id} < {compact(frame)}")
                count -= 1

    async def asks(self, user_id: int, path: str) -> None:
        """Call over HTTP."""
        answer = await self.world.get(path, user_id)
        self.note(f"{user_id} > GET {path}")
        self.note(f"{user_id} < HTTP {answer.code} {compact(json.loads(answer.body))}")


def compact(value: Any) -> str:
    def settled(found: Any) -> Any:
        if isinstance(found, list):
            return [settled(each) for each in found]
        if isinstance(found, dict):
            return {name: CHANGING.get(name) or settled(each) for name, each in found.items()}
        return found

    return json.dumps(settled(value), separators=(",", ":"), ensure_ascii=False)


async def session(told: Transcript) -> None:
    """Two friends: one writes while the other is away, then both are there."""
    told.note("# Of two friends one writes, and the other comes.")
    ann = await told.connects(1001, 1)
    await told.sends(ann, "chat", toUserId=1002, content="Lunch?", msgId="a-1")
    await told.gets(ann)
    ben = await told.connects(1002, 3)
    await told.sends(ben, "ack", msgId="a-1", status="delivered")
    await told.gets(ann)
    await told.sends(ben, "read", peerId=1001)
    await told.gets(ann)
    await told.sends(ben, "group_chat", groupId="g_demo", content="Who comes?", msgId="b-1")
    await told.gets(ben)
    await told.gets(ann)
    told.note("# The same msgId once more, in other words: what is stored stays as it was.")
    await told.sends(ann, "chat", toUserId=1002, content="Dinner?", msgId="a-1")
    await told.gets(ann)
    told.note("# For another receiver; to somebody who is no friend.")
    await told.sends(ann, "chat", toUserId=1003, content="Lunch?", msgId="a-1")
    await told.gets(ann, 2)
    await told.sends(ann, "chat", toUserId=1004, content="Hello", msgId="a-2")
    await told.gets(ann, 2)
    told.note("# The second user logs in on another device, which has everything up to id 1.")
    await told.connects(1002, 1, resume="1")
    await told.gets(ben)
    told.note(f"1002 closed: {await ben.close_code()} {ben.connection.close_reason}")
    await told.asks(1002, "/message/group/sync?groupId=g_demo&seq=0")


@pytest.mark.gen_test
async def test_the_session_of_the_guide_takes_place(make_world: MakeWorld) -> None:
    async with make_world(settings={"name": "skyeim-ws"}) as world:
        told = Transcript(world)
        await session(told)
    written = "\n".join(told.lines) + "\n"
    if os.environ.get("TRANSCRIPT") == "write":
        GUIDE.write_text(BLOCK.sub(lambda _: written, GUIDE.read_text(), count=1))
    found = BLOCK.search(GUIDE.read_text())
    assert found is not None
    assert found[0] == written
