"""SQLite files for the services: made once in a process, then copied.

The migrations take longer than most of the tests that need their tables.
"""

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from skyeim_ws.services.db import open_database
from skyeim_ws.services.demo import seed_demo


def sqlite_file(path: Path, *, demo: bool = False) -> str:
    """Return the path of a database with all tables, which is made if there is none.

    It is empty, or has the users of the `demo`.
    """
    if not path.exists():
        path.write_bytes(_made(demo))
    return str(path)


@cache
def _made(demo: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        file = Path(folder, "made.db")
        # On a thread of its own: the caller's has a running loop.
        thread.submit(asyncio.run, _make(file, demo)).result()
        return file.read_bytes()


async def _make(file: Path, demo: bool) -> None:
    database = await open_database(str(file))
    try:
        if demo:
            await seed_demo(database)
    finally:
        await database.close()
