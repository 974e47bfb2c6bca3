"""HTTP as it is on the wire: requests that no well-behaved client writes."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.waiting import DEADLINE
from tests.world import World


@dataclass(frozen=True)
class Answer:
    """An answer, its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, which must be JSON."""
        assert self.headers["content-type"].startswith("application/json"), self.headers
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


async def exchange(port: int, data: bytes) -> Answer:
    """Write bytes on a connection of their own, and return the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(DEADLINE):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split(" ")[1]), headers, body)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def ask(
    world: World, head: str, *headers: str, body: bytes = b"", user_id: int | None = None
) -> Answer:
    """Send a request line with headers, as the user if one is named, and return the answer."""
    lines = [head, "Host: localhost", *headers]
    if user_id is not None:
        lines.append(f"Authorization: Bearer {world.token(user_id)}")
    return await exchange(world.port, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)
