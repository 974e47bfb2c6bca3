"""Lines of the log on their way to a thread that writes them: a slow reader stops nobody."""

import logging
import os
import queue
import threading
import time

import structlog

_log = structlog.get_logger()

FLUSH_SECONDS = 2.0
"""How long the lines that are left at the end may take."""

_PAUSE = 0.005


class QueuedHandler(logging.Handler):
    """Hands lines to `sink` in a thread; of those that wait, what is more than `size` is dropped.

    `dropped` counts them, and what the sink could not write, on top of those before. How many they
    were is said in one line, with the next line that comes when half of the room is free.
    """

    def __init__(self, sink: logging.Handler, size: int, dropped: int = 0) -> None:
        super().__init__()
        self.dropped = self._told = dropped
        self._size = size
        self.sink = sink
        self._waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(size)
        sink.handleError = self._not_written  # type: ignore[method-assign]
        # A daemon: the end of the process must not wait for a reader.
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many lines are not written yet."""
        return self._waiting.unfinished_tasks

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; it never waits."""
        line = logging.LogRecord.__new__(logging.LogRecord)
        vars(line).update(vars(record))
        # In this thread: what belongs to the event may have changed later.
        line.msg, line.args = self.format(record), None
        line.exc_info = line.exc_text = line.stack_info = None
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            return
        lost = self.dropped - self._told
        if lost and 2 * self._waiting.qsize() <= self._size:
            self._told = self.dropped
            _log.warning("log_lines_dropped", count=lost)

    def flush(self) -> None:
        """Wait until all is written, but not for long.

        `logging` asks for it at the end of the process, also of one that a reload has replaced:
        that has ended, and there is nothing to wait for.
        """
        deadline = time.monotonic() + FLUSH_SECONDS
        while self.waiting and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Write what is left, if somebody reads, and end the thread."""
        self.flush()
        if not self.waiting:
            self._waiting.put_nowait(None)
        super().close()

    def _write(self) -> None:
        while (line := self._waiting.get()) is not None:
            # Without its lock, which `logging` asks for at the end of the process.
            self.sink.emit(line)
            self._waiting.task_done()
        self.sink.close()

    def _not_written(self, record: logging.LogRecord) -> None:
        self.dropped += 1


class Descriptor:
    """A stream that writes to a descriptor of the process, and does not close it.

    It has no lock, as Python's own streams have: a thread that waits for a reader would hold that,
    and the process could not end.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, text: str) -> None:
        """Write all of a text; it may wait for whoever reads."""
        rest = text.encode(errors="backslashreplace")
        while rest:
            rest = rest[os.write(self._number, rest) :]
