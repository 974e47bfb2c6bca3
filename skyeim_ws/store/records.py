"""What each node says of itself in Redis, and whether this one may stand beside the others."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Self

import msgspec

from skyeim_ws.store import scripts
from skyeim_ws.store.keys import NODES_KEY
from skyeim_ws.store.shard import Command

RECORDS_KEY = "ws:node-records"
"""A hash from node to `NodeRecord`; one that died without a cleaner may be left in it."""

FORMAT = 2
"""The format of what nodes tell each other and keep for each other in Redis.

It rises with a change that a node of the version before must not miss. What it may miss, such as a
new kind of message, leaves it alone.
"""

OLDEST_FORMAT = 2
"""The oldest format with whose nodes this version may stand side by side."""


class NodeRecord(msgspec.Struct, frozen=True, rename="camel"):
    """A node, as it describes itself. Nodes of versions without records have format 1."""

    name: str = ""
    version: str = ""
    commit: str = ""
    host: str = ""
    pid: int = 0
    started_at: int = 0
    format: int = 1
    oldest_format: int = 1

    @classmethod
    def own(cls, name: str, build: Mapping[str, str]) -> Self:
        """Return the record of this process."""
        return cls(
            name=name,
            version=build["version"],
            commit=build["commit"],
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=int(time.time()),
            format=FORMAT,
            oldest_format=OLDEST_FORMAT,
        )

    def fits(self, other: "NodeRecord") -> bool:
        """Return whether the two may stand side by side: one of them has to know the other.

        An older version cannot know a newer one, so the newer one says how far back it knows.
        """
        older, newer = sorted((self, other), key=lambda each: each.format)
        return older.format >= newer.oldest_format


class Seen(msgspec.Struct, frozen=True):
    """A node that is listed in Redis."""

    node: str
    silent: float
    """Seconds since its last sign of life, by the clock of Redis."""
    record: NodeRecord | None
    """None if it has written none, or one that cannot be read."""


def listing() -> tuple[Command, Command]:
    """Return the commands that ask for all nodes; `read_listing` reads their answers."""
    return ("EVAL", scripts.read("list_nodes"), 1, NODES_KEY), ("HGETALL", RECORDS_KEY)


def read_listing(nodes: list[bytes], records: list[bytes]) -> list[Seen]:
    """Return the nodes, those heard of last first."""
    now, signs = int(nodes[0]), nodes[1:]
    written = dict(zip(records[::2], records[1::2], strict=True))
    seen = [
        Seen(node.decode(), (now - float(sign)) / 1000, _record(written.get(node)))
        for node, sign in zip(signs[::2], signs[1::2], strict=True)
    ]
    return sorted(seen, key=lambda each: each.silent)


def encode(record: NodeRecord) -> bytes:
    """Return a record as it stands in Redis."""
    return msgspec.json.encode(record)


def _record(data: bytes | None) -> NodeRecord | None:
    try:
        return None if data is None else msgspec.json.decode(data, type=NodeRecord)
    except msgspec.DecodeError:
        return None
