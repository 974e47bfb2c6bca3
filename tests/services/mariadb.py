"""A real MariaDB that tests can kill, and the fixture that moves a test from SQLite to it."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from skyeim_ws.process import pdeathsig
from tests.ports import free_port
from tests.waiting import DEADLINE, wait_for

_T = TypeVar("_T")

DATABASE = "skyeim"

_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_SETTINGS = (
    "--skip-networking=0",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--performance-schema=off",
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    # What has been answered must survive a kill, as in production; power cuts are not tested.
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
    # What a deployment may have: neither the zone nor the mode must matter.
    "--default-time-zone=+08:00",
    "--sql-mode=",
    "--character-set-server=latin1",
)


def find_server() -> str | None:
    """Return the server program, if it and what prepares its data are installed."""
    server = shutil.which("mariadbd", path=_SEARCH) or shutil.which("mysqld", path=_SEARCH)
    return server if server is not None and shutil.which("mariadb-install-db") else None


class MariaDB:
    """A server on loopback, with its data on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        owner = ["--user=root"] if os.geteuid() == 0 else []
        self._data = ["--no-defaults", f"--datadir={folder / 'data'}", *owner]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The data source of the usual database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"mysql://root@{self.address}/{database}"

    def install(self) -> None:
        subprocess.run(
            [
                "mariadb-install-db",
                *self._data,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        server = find_server()
        assert server is not None
        command = [server, *self._data, f"--socket={self._folder / 's'}", f"--port={self.port}"]
        command += [f"--pid-file={self._folder / 'pid'}", *_SETTINGS]
        tied = [sys.executable, "-I", "-S", pdeathsig.__file__, str(os.getpid()), "--", *command]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(tied, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait_ready(self) -> None:
        wait_for(self._answers, "MariaDB")

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1", database="")
        except (SQLAlchemyError, OSError):
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "log").read_text()
            return False
        return True

    def execute(self, *statements: str, database: str = DATABASE) -> list[tuple[object, ...]]:
        """Run statements from outside a loop, the services knowing nothing; the last one's rows."""

        async def work(connection: AsyncConnection) -> list[tuple[object, ...]]:
            rows: list[tuple[object, ...]] = []
            for statement in statements:
                result = await connection.execute(text(statement.replace(":", "\\:")))
                rows = [tuple(row) for row in result] if result.returns_rows else []
            return rows

        return _run(self.url_of(database), work)

    def fresh(self, database: str) -> str:
        """Make an empty database, in place of one of the same name; return its data source."""
        drop, create = f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}"
        self.execute(drop, create, database="")
        return self.url_of(database)

    def clear(self) -> None:
        """Delete the rows of the usual database; much faster than to make its tables again."""
        tables = self.execute(
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_schema = '{DATABASE}' AND table_name != 'ws_schema_version'"
        )
        self.execute(*(f"DELETE FROM {name}" for (name,) in tables))


@contextmanager
def running_mariadb() -> Iterator[MariaDB]:
    """Run a server that dies with this process at the latest."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as folder:
        server = MariaDB(Path(folder))
        server.install()
        server.start()
        try:
            server.wait_ready()
            server.fresh(DATABASE)
            yield server
        finally:
            server.kill()


@pytest.fixture
def tmp_path(tmp_path: Path, mariadb: MariaDB) -> Path:
    """A folder whose services run on MariaDB; a module that imports this moves its tests there."""
    (tmp_path / "data_source").write_text(mariadb.url)
    return tmp_path


def _run(url: str, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        engine = create_async_engine(
            url.replace("mysql://", "mysql+asyncmy://"), poolclass=NullPool
        )
        try:
            async with asyncio.timeout(DEADLINE), engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    # On a thread of its own: this one may be running a loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()
