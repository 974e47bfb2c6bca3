"""The log: structlog and the standard library's loggers in one format, to stdout or to files."""

import logging
import logging.handlers
import re
import socket
import sys
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from skyeim_ws.config.tree import LogConf
from skyeim_ws.contract.names import LOG_LEVELS

BACKUPS_BY_DEFAULT = 20
"""Files kept under rotation by size when `MaxBackups` is 0: a disk is not without limit."""

MASK = "***"
_SECRET_FIELD = re.compile(r"token|secret|passw|authorization|cookie|^pass$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"""(?ix)
    (?<=token=)[^&\s'"]+            # a URL: Tornado logs the request line of a failed handler
    | (?<=bearer[ ])[\w.~+/=-]+
    | \beyJ[\w-]{5,}\.[\w-]+\.[\w-]*  # a JSON Web Token, wherever it stands
    """
)


def configure(log: LogConf, *, dev: bool, worker: int | None = None) -> None:
    """Send all logs of the process where `log` says; `dev` allows colours on a terminal.

    A `worker`, one of several processes, is named in each line, and has a log file of its own.
    Replaces what an earlier call has set up. Raises OSError when a log file cannot be opened.
    """
    level = LOG_LEVELS[log.level]
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
    handler = _handler(log, "" if worker is None else f"-{worker}")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(log, colors=dev and log.mode == "console" and sys.stdout.isatty()),
            ],
        )
    )
    _replace_handler(handler)
    # Libraries stay at info and above: at debug, database drivers print the rows they are given.
    logging.getLogger().setLevel(max(level, logging.INFO))
    logging.getLogger("skyeim_ws").setLevel(level)
    access = logging.getLogger("tornado.access")  # a line per request
    access.propagate = False
    access.handlers = [logging.NullHandler()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,  # a debug call in a hot path then costs next to nothing
    )


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask fields that are secret by their name, and tokens in any text."""
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own record
            event[name] = _masked_field(name, value)
    return event


def _masked_field(name: object, value: Any) -> Any:
    if value and isinstance(name, str) and _SECRET_FIELD.search(name):
        return MASK
    return _masked(value)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_TEXT.sub(MASK, value)
    if isinstance(value, dict):
        return {key: _masked_field(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _SECRET_TEXT.sub(MASK, str(value))  # an exception, an enum, an address


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


def _handler(log: LogConf, suffix: str) -> logging.Handler:
    if log.mode == "console":
        return logging.StreamHandler(sys.stdout)
    service = log.service_name or "skyeim-ws"
    folder = Path(log.path)
    if log.mode == "volume":  # several hosts share one volume
        folder = folder / service / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    # Two processes that rotate one file lose lines.
    file = folder / f"{service}{suffix}.log"
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
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
