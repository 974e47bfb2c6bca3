"""Opens the SQL database, SQLite or MySQL, and hands out its transactions.

SQLite allows one writer at a time. All writers wait for one lock, which is fair, and begin with
BEGIN IMMEDIATE: a transaction that began as a reader could not become a writer once another one
has written. In WAL mode the readers, on connections of their own, never wait.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    NullPool,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from skyeim_ws.services.migrations import upgrade
from skyeim_ws.services.mysql import LOCK_DEADLINE, mysql_engine
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

_GO_DSN = re.compile(
    r"(?P<user>[^:@/]+)(?::(?P<password>.*))?@(?P<net>tcp|unix)\((?P<address>[^()]+)\)"
    r"/(?P<name>[^/?]+)(?:\?.*)?",
    re.DOTALL,
)
_PAIRS = re.compile(r"IN \(VALUES ((?:\(\?, \?\)(?:, )?)+)\)")
_T = TypeVar("_T")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "mysql": "mysql+asyncmy", "mariadb": "mariadb+asyncmy"}


class DataSourceError(ValueError):
    """The data source cannot be understood; the text never repeats it, for its password."""


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


def parse_data_source(data_source: str) -> URL:
    """Return the URL of a data source, its driver filled in; raises DataSourceError."""
    if dsn := _GO_DSN.fullmatch(data_source.removeprefix("mysql://")):
        return _from_go_dsn(dsn)
    if "://" not in data_source:
        if "@" in data_source or data_source in ("", ":memory:"):
            raise DataSourceError("neither a file, a URL, nor user:password@tcp(host:port)/name")
        return URL.create(_DRIVERS["sqlite"], database=data_source)
    try:
        url = make_url(data_source)
    except (ArgumentError, ValueError):
        raise DataSourceError("the URL is malformed") from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise DataSourceError(f"no support for {url.get_backend_name()}: use SQLite or MySQL")
    if not url.database or url.database == ":memory:":
        raise DataSourceError("the URL names no database")
    return url.set(drivername=driver)


def chunks(values: Sequence[_T], size: int = IN_CHUNK) -> list[Sequence[_T]]:
    """Split values into runs of at most `size`."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def _from_go_dsn(dsn: re.Match[str]) -> URL:
    host: str | None = None
    port: int | None = None
    query: dict[str, str] = {"charset": "utf8mb4"}
    if dsn["net"] == "unix":
        query["unix_socket"] = dsn["address"]
    else:
        host, _, port_text = dsn["address"].rpartition(":")
        if not host or not port_text.isdecimal():
            raise DataSourceError("the address must be tcp(host:port)")
        port = int(port_text)
    return URL.create(
        _DRIVERS["mysql"], dsn["user"], dsn["password"], host.strip("[]") if host else None, port,
        dsn["name"], query,
    )  # fmt: skip


class _SqliteDatabase(Database):
    def __init__(self, url: URL) -> None:
        writer, reader = (_sqlite_engine(create_async_engine, url, n) for n in (1, READERS))
        super().__init__(writer, reader)
        plain_url = url.set(drivername="sqlite+pysqlite")
        self._work_writer = _sqlite_engine(create_engine, plain_url, 1)
        self._work_reader = _sqlite_engine(create_engine, plain_url, READERS)
        for engine in (writer.sync_engine, self._work_writer):
            event.listen(engine, "begin", _begin_immediate)
        self._engines = (
            writer.sync_engine,
            reader.sync_engine,
            self._work_writer,
            self._work_reader,
        )
        for engine in self._engines:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "before_cursor_execute", _use_index_for_pairs, retval=True)
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


def _sqlite_engine(create: Callable[..., _T], url: URL, pool_size: int) -> _T:
    return create(
        url,
        # An error text would repeat the parameters, and so the content of messages.
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_DEADLINE,
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Or the driver would begin transactions at moments of its own choice.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_DEADLINE * 1000:.0f}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _use_index_for_pairs(
    _connection: Connection,
    _cursor: object,
    statement: str,
    parameters: Any,
    _context: object,
    _many: bool,
) -> tuple[str, Any]:
    # SQLite reads the whole table for `(a, b) IN (VALUES ...)`, which is how SQLAlchemy writes a
    # list of pairs, but uses the index on (a, b) if the same list is a subquery.
    if "IN (VALUES" in statement:
        statement = _PAIRS.sub(r"IN (SELECT * FROM (VALUES \1))", statement)
    return statement, parameters


async def _open_sqlite(url: URL) -> Database:
    database = _SqliteDatabase(url)
    try:
        await database.migrate()
    except BaseException:
        await database.close()
        raise
    return database


async def _open_mysql(url: URL) -> Database:
    try:
        # A connection of its own, closed at the end: the lock of the migrations belongs to it.
        migrating = mysql_engine(url, poolclass=NullPool)
    except ModuleNotFoundError as error:
        raise DataSourceError(f"MySQL needs the package {error.name}: skyeim-ws[mysql]") from error
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
