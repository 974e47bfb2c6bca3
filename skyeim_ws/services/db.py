"""Opens the SQL database, SQLite or MySQL, and hands out its transactions.

SQLite allows one writer at a time. All writers wait for one lock, which is fair, and begin with
BEGIN IMMEDIATE: a transaction that began as a reader could not become a writer once another one
has written. In WAL mode the readers, on connections of their own, never wait.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import TypeVar

from sqlalchemy import URL, Connection, NullPool, create_engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from skyeim_ws.services.data_source import parse_data_source
from skyeim_ws.services.migrations import upgrade
from skyeim_ws.services.mysql import mysql_engine
from skyeim_ws.services.sqlite import prepare, sqlite_engine
from skyeim_ws.services.tables import find_integer_times, use_integer_times

READERS = 4
"""Connections of each kind that read from a SQLite file at the same time; each is a thread."""

SQL_DEADLINE = 10.0
"""Seconds within which a whole transaction must have ended, its wait for a connection included."""

MIGRATION_DEADLINE = 3600.0
"""Seconds for the migrations; an index on a large table of an existing deployment takes long."""

LOCK_IDLE = 30
"""Seconds without a word after which MySQL ends the connection that holds a named lock."""

LOCK_NAME_LENGTH = 64

IN_CHUNK = 500
"""Values in one IN list; the engines have limits, and long lists plan badly."""

_T = TypeVar("_T")


class Database:
    """An open database; made by `open_database`.

    A transaction is either an `async with` block, or a plain function that is handed a connection.
    The function is for the busy paths: on SQLite it costs one change of thread, where the block
    costs four for each statement, and those cost more than the statements.

    All methods raise TimeoutError or SQLAlchemyError when the database does not do its part.
    """

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._writer = writer
        self._reader = reader
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a transaction that may write; leaving it commits, an exception rolls back.

        Do not nest it, nor any other write.
        """
        return self._transaction(self._writer)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Lend a connection for reading; each statement sees what was committed before it."""
        return self._transaction(self._reader)

    async def run_write(self, work: Callable[[Connection], _T]) -> _T:
        """Return what `work` returns in a transaction that may write.

        `work` may run on another thread, and to its end when the caller is cancelled.
        """
        async with self.write() as connection:
            return await connection.run_sync(work)

    async def run_read(self, work: Callable[[Connection], _T]) -> _T:
        """Return what `work` returns with a connection for reading; it may run elsewhere too."""
        async with self.read() as connection:
            return await connection.run_sync(work)

    @asynccontextmanager
    async def only_one(self, name: str) -> AsyncIterator[bool]:
        """Tell whether no other process is in the block of this name; leave it within 10 s."""
        async with self._transaction(self._reader) as connection:
            # The server frees the lock of a host that has died, sooner than by default.
            await connection.execute(text(f"SET SESSION wait_timeout = {LOCK_IDLE}"))
            lock = f"skyeim_ws.{name}.{connection.engine.url.database}"[:LOCK_NAME_LENGTH]
            try:
                yield await connection.scalar(select(func.get_lock(lock, 0))) == 1
            finally:
                await connection.execute(select(func.release_lock(lock)))
                await connection.execute(text("SET SESSION wait_timeout = DEFAULT"))

    async def close(self) -> None:
        """Close all connections; the work that is under way ends first."""
        # Else its connections would be left to the garbage collector, and so would their threads.
        with suppress(TimeoutError):
            async with asyncio.timeout(SQL_DEADLINE):
                await self._idle.wait()
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with self._counted():
            async with asyncio.timeout(SQL_DEADLINE), engine.begin() as connection:
                yield connection

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


async def open_database(data_source: str) -> Database:
    """Open the database after bringing its tables up to date; see `migrations`.

    `data_source` is the path of a SQLite file, a SQLAlchemy URL, or a go-zero DSN such as
    `user:password@tcp(host:3306)/name?charset=utf8mb4`. Raises DataSourceError, SchemaError,
    SQLAlchemyError.
    """
    url = parse_data_source(data_source)
    is_sqlite = url.get_backend_name() == "sqlite"
    return await (_open_sqlite(url) if is_sqlite else _open_mysql(url))


def chunks(values: Sequence[_T], size: int = IN_CHUNK) -> list[Sequence[_T]]:
    """Split values into runs of at most `size`."""
    return [values[start : start + size] for start in range(0, len(values), size)]


class _SqliteDatabase(Database):
    def __init__(self, url: URL) -> None:
        writer, reader = (sqlite_engine(create_async_engine, url, n) for n in (1, READERS))
        super().__init__(writer, reader)
        plain_url = url.set(drivername="sqlite+pysqlite")
        self._work_writer = sqlite_engine(create_engine, plain_url, 1)
        self._work_reader = sqlite_engine(create_engine, plain_url, READERS)
        writers = (writer.sync_engine, self._work_writer)
        self._engines = (*writers, reader.sync_engine, self._work_reader)
        for engine in self._engines:
            prepare(engine, writes=engine in writers)
        self._write_thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._read_threads = ThreadPoolExecutor(READERS, "sqlite-reader")
        # SQLite's own lock is not fair: those who wait for it poll.
        self._write_lock = asyncio.Lock()

    async def migrate(self) -> None:
        # Not in a block: aiosqlite's thread outlives a connection that it could not open.
        integer_times = await self._run_write(_migrate, MIGRATION_DEADLINE)
        for engine in self._engines:
            use_integer_times(engine.dialect, integer_times)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        with self._counted():
            async with (
                asyncio.timeout(SQL_DEADLINE),
                self._write_lock,
                self._writer.begin() as conn,
            ):
                yield conn

    async def run_write(self, work: Callable[[Connection], _T]) -> _T:
        return await self._run_write(work, SQL_DEADLINE)

    async def _run_write(self, work: Callable[[Connection], _T], deadline: float) -> _T:
        def run() -> _T:
            with self._work_writer.begin() as connection:
                return work(connection)

        async with asyncio.timeout(deadline), self._write_lock:
            return await asyncio.get_running_loop().run_in_executor(self._write_thread, run)

    async def run_read(self, work: Callable[[Connection], _T]) -> _T:
        def run() -> _T:
            with self._work_reader.connect() as connection:
                return work(connection)

        async with asyncio.timeout(SQL_DEADLINE):
            return await asyncio.get_running_loop().run_in_executor(self._read_threads, run)

    @asynccontextmanager
    async def only_one(self, name: str) -> AsyncIterator[bool]:
        # One process has the file: the services hold its folder.
        yield True

    async def close(self) -> None:
        for threads in (self._write_thread, self._read_threads):
            threads.shutdown(wait=True, cancel_futures=True)
        self._work_writer.dispose()
        self._work_reader.dispose()
        await super().close()


async def _open_sqlite(url: URL) -> Database:
    database = _SqliteDatabase(url)
    try:
        await database.migrate()
    except BaseException:
        await database.close()
        raise
    return database


async def _open_mysql(url: URL) -> Database:
    # A connection of its own, closed at the end: the lock of the migrations belongs to it.
    migrating = mysql_engine(url, poolclass=NullPool)
    try:
        async with asyncio.timeout(MIGRATION_DEADLINE), migrating.begin() as connection:
            integer_times = await connection.run_sync(_migrate)
    finally:
        await migrating.dispose()
    engine = mysql_engine(url)
    use_integer_times(engine.dialect, integer_times)
    return Database(engine, engine)


def _migrate(connection: Connection) -> frozenset[str]:
    upgrade(connection)
    return find_integer_times(connection)
