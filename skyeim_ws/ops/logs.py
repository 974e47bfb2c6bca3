"""The log of a process: structlog and the standard library's loggers, in one place and format."""

import logging
import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from skyeim_ws.config.log import LogConf
from skyeim_ws.contract.names import LOG_LEVELS, LogLevel
from skyeim_ws.ops import log_lines
from skyeim_ws.ops.line_limit import LineLimit
from skyeim_ws.ops.log_files import GoZeroFiles
from skyeim_ws.ops.log_queue import Descriptor, QueuedHandler

_log = structlog.get_logger()

FIRST = ("gateway", "parent")
"""The processes whose log files lie in the folder that is configured."""

SERVICES = "services"
"""The process of our own business services."""

LINES_PER_MINUTE = 60
"""Lines of one kind, of those that callers without a token can cause, or a slow service."""

_ANYONE_CAUSES = frozenset(
    {"handshake_refused", "handshake_dropped", "call_refused", "push_refused", "request_failed"}
    | {"tls_failed"}
)
_SLOW = "slow_"
_STDOUT, _STDERR = 1, 2
_METHODS = ("debug", "info", "warning", "error", "critical", "exception")
_TORNADO = "tornado."
_QUOTED = re.compile("[:'\"]")


def configure(log: LogConf, *, process: str, dev: bool) -> None:
    """Send all logs of the process where `log` says; `dev` allows colours on a terminal.

    `process` is its name among those of this service, on each line. The first one of them,
    `gateway` or `parent`, has its files in the folder of the log, each other in one below that:
    two that turned over the same files would lose lines. Replaces what an earlier call has set up.
    Raises OSError when a log file cannot be opened.
    """
    limiter = _LineLimiter(time.monotonic)
    handler = QueuedHandler(_sink(log, process), log.queue_size)
    lines = log_lines.processors(log, process)
    colors = dev and log.mode == "console" and sys.stdout.isatty()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *lines],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                log_lines.renderer(log, colors=colors),
            ],
        )
    )
    handler.addFilter(limiter)
    _replace_handler(handler)
    access = logging.getLogger("tornado.access")  # a line per request
    access.propagate = False
    access.handlers = [logging.NullHandler()]
    # The driver repeats the server's warnings, which may quote what somebody wrote.
    logging.getLogger("asyncmy").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # our own lines say what it does
    structlog.configure(
        processors=[limiter, *lines, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=type("_OfThisProcess", (_Leveled,), {}),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,  # a debug call in a hot path then costs next to nothing
    )
    set_level(log.level)


def reopen(log: LogConf, *, process: str) -> None:
    """Open the log files anew after `configure`, since somebody may have moved them away.

    Raises OSError, and then logs go on as before.
    """
    handler = QueuedHandler(_sink(log, process), log.queue_size, lines().dropped)
    for old in _own_handlers():
        handler.setFormatter(old.formatter)
        for chosen in old.filters:
            handler.addFilter(chosen)
    _replace_handler(handler)


class Lines(NamedTuple):
    """The lines of this process that are not written: not yet, and not at all."""

    waiting: int = 0
    dropped: int = 0


def lines() -> Lines:
    """Count them."""
    for handler in _own_handlers():
        return Lines(handler.waiting, handler.dropped)
    return Lines()


def encode(log: LogConf) -> str:
    """Return the settings as a text, for a process that is told them."""
    return msgspec.json.encode(log).decode()


def decode(text: str) -> LogConf:
    """Return the settings that `encode` has written; what is missing has its default."""
    return msgspec.json.decode(text, type=LogConf)


def set_level(name: LogLevel) -> None:
    """Log from this level on, also in loggers that are in use."""
    level = LOG_LEVELS[name]
    # Libraries stay at info and above: at debug, database drivers print the rows they are given.
    logging.getLogger().setLevel(max(level, logging.INFO))
    logging.getLogger("skyeim_ws").setLevel(level)
    loggers = structlog.get_config()["wrapper_class"]
    if issubclass(loggers, _Leveled):
        # A logger that is in use keeps its class, so it is the class that changes: below the
        # level its methods do nothing.
        filtering = structlog.make_filtering_bound_logger(level)
        for method in _METHODS:
            setattr(loggers, method, getattr(filtering, method))


class _Leveled(structlog.make_filtering_bound_logger(logging.NOTSET)):  # type: ignore[misc]
    """A logger whose level `set_level` can change."""


class _LineLimiter:
    """Leaves out what is too much of a kind, and says later how much it was."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit = LineLimit(LINES_PER_MINUTE)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Look at an event of ours, as a processor."""
        self._tell()
        name = event["event"]
        if (name in _ANYONE_CAUSES or name.startswith(_SLOW)) and not self._limit.admits(
            name, self._clock()
        ):
            raise structlog.DropEvent
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """Look at a line of Tornado, which says what went wrong with requests."""
        if not record.name.startswith(_TORNADO):
            return True
        self._tell()
        kind = str(record.msg).partition(":")[0]
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_values, record.args))
        return self._limit.admits(kind, self._clock())

    def _tell(self) -> None:
        for kind, count in self._limit.ended(self._clock()):
            _log.warning("log_lines_left_out", kind=kind, count=count)


def _without_values(argument: object) -> object:
    """Return what Tornado says in a line, but for the header that it quotes.

    Its texts name the fault first; what was sent follows, behind a colon or in quotes.
    """
    if isinstance(argument, str) or (
        isinstance(argument, Exception) and not isinstance(argument, OSError)
    ):
        return _QUOTED.split(str(argument), maxsplit=1)[0].strip()
    return argument


def _sink(log: LogConf, process: str) -> logging.Handler:
    if log.mode == "console":
        # What is for people at a terminal is on stdout, and the services have none of it.
        return logging.StreamHandler(Descriptor(_STDERR if process == SERVICES else _STDOUT))
    folder = Path(log.path)
    if log.mode == "volume":  # several hosts share one volume
        folder = folder / (log.service_name or "skyeim-ws") / socket.gethostname()
    return GoZeroFiles(folder if process in FIRST else folder / process, log)


def _replace_handler(handler: logging.Handler) -> None:
    """Put the handler in the place of the one that an earlier call has set up."""
    root = logging.getLogger()
    for old in _own_handlers():
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)


def _own_handlers() -> list[QueuedHandler]:
    return [
        handler for handler in logging.getLogger().handlers if isinstance(handler, QueuedHandler)
    ]
