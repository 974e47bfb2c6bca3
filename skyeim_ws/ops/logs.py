"""The log: structlog and the standard library's loggers in one format, to stdout or to files."""

import logging
import logging.handlers
import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from skyeim_ws.config.tree import LogConf
from skyeim_ws.contract.names import LOG_LEVELS, LogLevel
from skyeim_ws.ops.line_limit import LineLimit
from skyeim_ws.ops.log_queue import QueuedHandler
from skyeim_ws.ops.masking import masked_field

_log = structlog.get_logger()

BACKUPS_BY_DEFAULT = 20
"""Files kept under rotation by size when `MaxBackups` is 0: a disk is not without limit."""

LINES_PER_MINUTE = 60
"""Lines of one kind, of those that callers without a token can cause."""

_ANYONE_CAUSES = frozenset(
    {"token_refused", "push_refused", "handshake_dropped", "login_limited", "request_failed"}
)
_METHODS = ("debug", "info", "warning", "error", "critical", "exception")
_TORNADO = "tornado."
_QUOTED = re.compile("[:'\"]")


def configure(log: LogConf, *, dev: bool, worker: int | None = None) -> None:
    """Send all logs of the process where `log` says; `dev` allows colours on a terminal.

    A `worker`, one of several processes, is named in each line, and has a log file of its own.
    Replaces what an earlier call has set up. Raises OSError when a log file cannot be opened.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        mask_secrets,
    ]
    if log.max_content_length:
        shared.append(_shorten(log.max_content_length))
    if log.service_name:
        shared.append(_add_field("service", log.service_name))
    if worker is not None:
        shared.append(_add_field("worker", worker))
    limiter = _LineLimiter(time.monotonic)
    handler = QueuedHandler(_handler(log, worker), log.queue_size)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(log, colors=dev and log.mode == "console" and sys.stdout.isatty()),
            ],
        )
    )
    handler.addFilter(limiter)
    _replace_handler(handler)
    access = logging.getLogger("tornado.access")  # a line per request
    access.propagate = False
    access.handlers = [logging.NullHandler()]
    structlog.configure(
        processors=[limiter, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=type("_OfThisProcess", (_Leveled,), {}),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,  # a debug call in a hot path then costs next to nothing
    )
    set_level(log.level)


def reopen(log: LogConf, *, worker: int | None = None) -> None:
    """Open the log file anew after `configure`, since somebody may have moved it away.

    Raises OSError, and then logs go on as before.
    """
    handler = _handler(log, worker)
    for old in _own_handlers():
        handler.setFormatter(old.formatter)
        for chosen in old.filters:
            handler.addFilter(chosen)
    _replace_handler(handler)


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


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask fields that are secret by their name, and tokens in any text."""
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own record
            event[name] = masked_field(name, value)
    return event


class _LineLimiter:
    """Leaves out what is too much of a kind, and says later how much it was."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit = LineLimit(LINES_PER_MINUTE)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Look at an event of ours, as a processor."""
        self._tell()
        name = event["event"]
        if name in _ANYONE_CAUSES and not self._limit.admits(name, self._clock()):
            raise structlog.DropEvent
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """Look at a line of Tornado, which says what went wrong with requests and TLS."""
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


def _add_field(name: str, value: object) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault(name, value)
        return event

    return add


def _shorten(limit: int) -> Processor:
    """Cut text fields to `limit` characters, as go-zero's MaxContentLength does."""

    def shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name, value in event.items():
            if isinstance(value, str) and len(value) > limit:
                event[name] = value[:limit]
        return event

    return shorten


def _renderer(log: LogConf, *, colors: bool) -> Processor:
    if log.encoding == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=colors,
        timestamp_key="@timestamp",
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=0,
    )


def _handler(log: LogConf, worker: int | None) -> logging.Handler:
    if log.mode == "console":
        return logging.StreamHandler(sys.stdout)
    service = log.service_name or "skyeim-ws"
    folder = Path(log.path)
    if log.mode == "volume":  # several hosts share one volume
        folder = folder / service / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    # Two processes that rotate one file lose lines.
    file = folder / f"{service}{'' if worker is None else f'-{worker}'}.log"
    if log.rotation == "size":
        return logging.handlers.RotatingFileHandler(
            file,
            maxBytes=log.max_size * 1024 * 1024,
            backupCount=log.max_backups or BACKUPS_BY_DEFAULT,
            encoding="utf-8",
        )
    return logging.handlers.TimedRotatingFileHandler(
        file, when="midnight", backupCount=log.keep_days, encoding="utf-8"
    )


def _replace_handler(handler: logging.Handler) -> None:
    """Put the handler in the place of the one that an earlier call has set up."""
    root = logging.getLogger()
    for old in _own_handlers():
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)


def _own_handlers() -> list[logging.Handler]:
    return [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    ]
