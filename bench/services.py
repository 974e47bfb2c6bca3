"""The business services as a process of their own, over a SQLite file with some users in it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import insert

from skyeim_ws.services.db import open_database
from skyeim_ws.services.tables import friends, group_members, groups

STOP_DEADLINE = 10.0

_ROWS, _GROUPS = 20_000, 200
"""In one transaction, which has a deadline."""


@dataclass(frozen=True, slots=True)
class Services:
    """Where the services are, and which process they are."""

    address: str
    pid: int


async def fill(data_source: str, user_ids: Iterable[int], group_ids: Iterable[str]) -> None:
    """Make all users members of all groups, and each a friend of the next, in a new database."""
    users = list(user_ids)
    nexts = users[1:] + users[:1]
    await seed(data_source, dict.fromkeys(group_ids, users), list(zip(users, nexts, strict=True)))


async def seed(
    data_source: str, members: Mapping[str, Sequence[int]], pairs: Sequence[tuple[int, int]]
) -> None:
    """Put groups, with their members, and pairs of friends into a new database."""
    both = [*pairs, *((other, one) for one, other in pairs)]
    database = await open_database(data_source)
    try:
        for start in range(0, len(both), _ROWS):
            rows = [
                {"user_id": one, "friend_id": other} for one, other in both[start : start + _ROWS]
            ]
            async with database.write() as connection:
                await connection.execute(insert(friends), rows)
        entries = iter(members.items())
        while some := list(islice(entries, _GROUPS)):
            async with database.write() as connection:
                for group_id, user_ids in some:
                    await connection.execute(
                        insert(groups).values(
                            group_id=group_id,
                            name=group_id,
                            owner_id=user_ids[0],
                            member_count=len(user_ids),
                        )
                    )
                    await connection.execute(
                        insert(group_members),
                        [{"group_id": group_id, "user_id": user_id} for user_id in user_ids],
                    )
    finally:
        await database.close()


@asynccontextmanager
async def running_services(folder: Path, data_source: str) -> AsyncIterator[Services]:
    """Run the services on a unix socket in `folder`; they may still be starting."""
    address = f"unix:{folder / 'services.sock'}"
    command = ["-m", "skyeim_ws.services.server", "--data-source", data_source]
    command += ["--listen", address, "--log-level", "warn", "--log-encoding", "plain"]
    process = await asyncio.create_subprocess_exec(sys.executable, *command)
    try:
        yield Services(address, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), STOP_DEADLINE)
