"""What all tasks and threads of the process are doing, for the log."""

import asyncio
import faulthandler
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import IO, Any

import structlog

log = structlog.get_logger()

_PLACE = re.compile(r'File "(.+)", line (\d+) in (.+)')


def log_stacks() -> None:
    """Log where each task and each thread is, outermost call first; needs a running loop.

    Tasks at the same place share a line, which says how many they are. The lines are warnings, so
    that they are seen at most levels. They hold places in the code and no values.
    """
    places = Counter("\n".join(_places(task)) for task in asyncio.all_tasks())
    for stack, count in places.most_common():
        log.warning("task_stack", count=count, stack=stack)
    log.warning("thread_stacks", stacks=_all_stacks())


def _places(task: asyncio.Task[Any]) -> Iterator[str]:
    """Give the lines at which a task waits, through all that it awaits."""
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = _frame(waiting)
        if frame is None:
            yield str(type(waiting).__name__)  # a future, at the end
            return
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        waiting = next(
            (getattr(waiting, name) for name in _AWAITED if hasattr(waiting, name)), None
        )


_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")


def _frame(waiting: object) -> FrameType | None:
    frames = (getattr(waiting, name, None) for name in ("cr_frame", "gi_frame", "ag_frame"))
    return next((frame for frame in frames if isinstance(frame, FrameType)), None)


def place(path: str, line: int | str) -> str:
    """Return a place in the code as go-zero gives it, such as `store/bus.py:182`."""
    return f"{'/'.join(path.rsplit('/', 2)[-2:])}:{line}"


def thread_places(ident: int, most: int, scratch: IO[bytes]) -> list[str]:
    """Return the innermost places in the code at which a thread is, `most` of them.

    `scratch` is an open file: whoever looks often must not need a descriptor each time.
    """
    for stack in _stacks(scratch).split("\n\n"):
        if f"0x{ident:016x}" in stack.partition("\n")[0]:
            found = _PLACE.findall(stack)[:most]
            return [f"{place(path, line)} {function}" for path, line, function in found]
    return []


def _all_stacks() -> str:
    with tempfile.TemporaryFile() as file:
        return _stacks(file)


def _stacks(scratch: IO[bytes]) -> str:
    """Return the stacks of all threads; faulthandler writes to files alone."""
    scratch.seek(0)
    scratch.truncate()
    faulthandler.dump_traceback(scratch, all_threads=True)
    scratch.seek(0)
    return scratch.read().decode(errors="replace").strip()
