"""The files of go-zero, one for each kind of line: turned over, packed and removed as it does."""

import glob
import gzip
import logging
import logging.handlers
import shutil
import threading
import time
from pathlib import Path

import structlog

from skyeim_ws.config.log import LogConf
from skyeim_ws.ops import time_layout
from skyeim_ws.ops.log_lines import KINDS

_log = structlog.get_logger()

BACKUPS_BY_DEFAULT = 20
"""Kept under rotation by size where neither a number nor days are set: a disk is finite."""

RETRY_SECONDS = 60.0
"""After a file could not be turned over, which would fail again with the next line."""

_DAY = 86_400.0
_MEGABYTE = 1024 * 1024
_UNFINISHED = ".part"


class GoZeroFiles(logging.Handler):
    """Writes each line to the file of its kind, in one folder.

    They are `access.log` (debug, info), `error.log` (warn, error), `severe.log`, `slow.log` and
    `stat.log`. Only one process may write into a folder. Raises OSError if a file cannot be opened.
    """

    def __init__(self, folder: Path, log: LogConf) -> None:
        # First: a handler is closed at the end of the process, also one that came to nothing.
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__()
        self.files: dict[str, TurnedFile] = {}
        try:
            for kind in ("access", "error", "severe", "slow", "stat"):
                self.files[kind] = file = TurnedFile(folder / f"{kind}.log", log)
                file.handleError = self._not_written  # type: ignore[method-assign]
        except OSError:
            self.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, whose text is its message."""
        self.files[_kind(record)].handle(record)

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()
        super().close()

    def _not_written(self, record: logging.LogRecord) -> None:
        self.handleError(record)


def _kind(record: logging.LogRecord) -> str:
    if record.levelno >= logging.CRITICAL:
        return "severe"
    return KINDS.get(record.name) or ("error" if record.levelno >= logging.WARNING else "access")


class TurnedFile(logging.handlers.BaseRotatingHandler):
    """A file that gets another name after its day, or at its size; a new one takes its place.

    A thread packs and removes those of before, also what an earlier process has left.
    """

    def __init__(self, path: Path, log: LogConf) -> None:
        began = path.stat().st_mtime if path.exists() else time.time()
        super().__init__(path, "a", encoding="utf-8")
        self._path = path
        self._conf = log
        self._stamp = time_layout.formatter(log.file_time_format or time_layout.FILES)
        self._day = _date(began)
        self._next_day = _midnight_after(began)
        self._retry_at = 0.0
        self._tidying = threading.Lock()
        self._tidy_beside()

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - logging's name
        """Whether the file is full, or of a day that is over."""
        if record.created < self._retry_at:
            return False
        if self._conf.rotation == "daily":
            return record.created >= self._next_day
        limit = self._conf.max_size * _MEGABYTE
        # Not counted in bytes: a line with many characters of several bytes may be above it.
        written = self.stream.tell() if self.stream is not None else 0
        return bool(limit) and written + len(record.getMessage()) > limit

    def doRollover(self) -> None:  # noqa: N802 - logging's name
        """Rename the file, and begin a new one."""
        now = time.time()
        if self.stream is not None:
            self.stream.close()
            # Should the new one not open, the next line tries again.
            self.stream = None
        try:
            self._path.rename(self._backup(now))
        except OSError as error:
            self._retry_at = now + RETRY_SECONDS
            _log.warning("log_file_not_turned", file=str(self._path), error=error.strerror)
        else:
            self._day, self._next_day = _date(now), _midnight_after(now)
        self.stream = self._open()
        self._tidy_beside()

    def tidy(self) -> None:
        """Pack the files of before, and remove those that are too many or too old."""
        with self._tidying:
            try:
                if self._conf.compress:
                    for file in self._backups():
                        if file.suffix != ".gz":
                            _pack(file)
                for file in self._outdated(self._backups()):
                    file.unlink()
            except OSError as error:
                _log.warning("log_files_not_tidied", file=str(self._path), error=str(error))

    def _tidy_beside(self) -> None:
        # A daemon: what is half packed when the process ends is packed by the next one.
        if self._conf.compress or self._conf.keep_days or self._conf.rotation == "size":
            threading.Thread(target=self.tidy, name="log files", daemon=True).start()

    def _backup(self, now: float) -> Path:
        """Return a name as go-zero gives it; with a number where that is taken."""
        head, tail = f"{self._path.name}-{self._day}", ""
        if self._conf.rotation == "size":
            stamp = self._stamp(now).replace("/", "-")
            head, tail = f"{self._path.stem}-{stamp}", self._path.suffix
        free, number = self._path.with_name(head + tail), 1
        while free.exists() or free.with_name(f"{free.name}.gz").exists():
            number += 1
            free = self._path.with_name(f"{head}.{number}{tail}")
        return free

    def _backups(self) -> list[Path]:
        """Return the files of before, the oldest first."""
        daily = self._conf.rotation == "daily"
        name = self._path.name if daily else self._path.stem
        found = Path(self._path.parent).glob(f"{glob.escape(name)}-*")
        whole = [file for file in found if not file.name.endswith(_UNFINISHED)]
        return sorted(whole, key=lambda file: (file.stat().st_mtime, file.name))

    def _outdated(self, backups: list[Path]) -> list[Path]:
        conf, out = self._conf, 0
        if conf.rotation == "size":
            most = conf.max_backups or (0 if conf.keep_days else BACKUPS_BY_DEFAULT)
            out = max(len(backups) - most, 0) if most else 0
        if conf.keep_days:
            oldest = time.time() - conf.keep_days * _DAY
            out = max(out, sum(file.stat().st_mtime < oldest for file in backups))
        return backups[:out]


def _pack(file: Path) -> None:
    part = file.with_name(f"{file.name}.gz{_UNFINISHED}")
    with file.open("rb") as read, gzip.open(part, "wb") as written:
        shutil.copyfileobj(read, written)
    shutil.copystat(file, part)
    part.rename(file.with_name(f"{file.name}.gz"))
    file.unlink()


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _midnight_after(seconds: float) -> float:
    """Return when the day of this moment ends, on the clock of this place."""
    day = time.localtime(seconds)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))
