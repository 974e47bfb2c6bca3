"""Where a process spends its CPU time: its stack, a hundred times in each second of that."""

import asyncio
import signal
from collections import Counter
from types import FrameType

import structlog

from skyeim_ws.ops.stacks import place

MOST_SECONDS = 300

_INTERVAL = 0.01

log = structlog.get_logger()


class BusyError(Exception):
    """A profile is being taken already."""


class Profiler:
    """Takes profiles of the main thread, one at a time; there is one of it in a process.

    The kernel asks for a look by a signal, as Go has it. A thread that looks would find the others
    where they let it in, which is where they wait.
    """

    def __init__(self) -> None:
        self._stacks: Counter[str] | None = None

    async def take(self, seconds: float) -> str:
        """Return the profile of so many seconds as collapsed stacks; raises BusyError.

        A line for each stack, the outermost function first, with how often it was seen, such as
        `process/daemon.py:120 _run;store/bus.py:182 RedisBus._take 17`. There are no values in it.
        """
        if self._stacks is not None:
            raise BusyError
        stacks = self._stacks = Counter()
        # It stays when the profile is done: without it a late signal would end the process.
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
        try:
            await asyncio.sleep(seconds)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._stacks = None
            log.info("profile_taken", seconds=seconds, samples=stacks.total())
        return "".join(f"{stack} {count}\n" for stack, count in stacks.most_common())

    def _look(self, _: int, frame: FrameType | None) -> None:
        if self._stacks is None:
            return
        functions = []
        while frame is not None:
            code = frame.f_code
            where = place(code.co_filename, code.co_firstlineno)
            functions.append(f"{where} {code.co_qualname}")
            frame = frame.f_back
        self._stacks[";".join(reversed(functions))] += 1
