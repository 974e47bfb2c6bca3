"""Sets of numbers in Redis, read in pieces: a large one must not hold up the loop, nor Redis."""

from collections.abc import AsyncGenerator

from skyeim_ws.store.pipeline import Pipeline

PIECE = 2_000
"""Members in one answer, of which a set may give some more or less; and in one write."""


async def pieces(pipeline: Pipeline, key: str) -> AsyncGenerator[tuple[list[int], int]]:
    """Yield the members of a set, each at least once, with its time to live in seconds.

    That is negative for a key that never expires, or is gone. Who comes or goes meanwhile may be
    among them or not. Other programs may keep a placeholder in the set, which is left out. Raises
    Unavailable.
    """
    cursor = 0
    while True:
        (after, members), ttl = await pipeline.call(
            ("SSCAN", key, cursor, "COUNT", PIECE), ("TTL", key)
        )
        yield [int(member) for member in members if member.isdigit()], int(ttl)
        cursor = int(after)
        if cursor == 0:
            return
