"""Child processes: started, kept running, and never left behind."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import structlog

from skyeim_ws.process import pdeathsig

log = structlog.get_logger()

READY_TIMEOUT = 10.0
READY_POLL = 0.02
BACKOFF_FIRST, BACKOFF_LIMIT = 0.2, 5.0

STEADY_AFTER = 10.0
"""A child that lived for this long is restarted without the backoff of earlier deaths."""

Ready = Callable[[], Awaitable[bool]]


class ChildError(Exception):
    """A child process could not be started, or was not ready in time."""


class Child:
    """A command that is restarted whenever it dies, until it is stopped.

    `ready` is asked until it says yes, for at most `ready_timeout` seconds after each start.
    The output goes to this program's own, or is appended to the file `output`; `environment` is
    added to this program's own, for what must not be seen in a list of processes. It inherits the
    files `pass_fds`. The child dies with the thread that started it (see `process.pdeathsig`), so
    `start` belongs on the main thread; a restart runs on the same loop.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: Ready,
        ready_timeout: float = READY_TIMEOUT,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._command = command
        self._ready = ready
        self._ready_timeout = ready_timeout
        self._output = output
        self._environment = environment
        self._pass_fds = pass_fds
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id, or None while there is no process."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self.pid is not None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def start(self) -> None:
        """Start the command, wait until it is ready, and keep it running from then on.

        Raises ChildError, and leaves nothing running, if the first start fails.
        """
        try:
            process = await self._launch()
        except BaseException:
            await self._end(0)
            raise
        self._supervisor = asyncio.create_task(self._supervise(process))

    async def stop(self, grace: float) -> None:
        """Ask the child to end, and kill it after `grace` seconds."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        pid = self.pid
        await self._end(grace)
        if pid is not None and self._process is not None:
            log.info("child_stopped", child=self.name, pid=pid, exit_code=self._process.returncode)

    async def _launch(self) -> asyncio.subprocess.Process:
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | None = None
            if self._output is not None:
                output = stack.enter_context(self._output.open("ab"))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", pdeathsig.__file__, str(os.getpid()), "--"),
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if self._environment is None else os.environ | self._environment,
                # A Ctrl-C at the terminal reaches all processes of the session. Children must
                # not end before those who need them.
                start_new_session=True,
                pass_fds=self._pass_fds,
            )
        self._process = process
        await self._wait_ready(process)
        log.info("child_started", child=self.name, pid=process.pid)
        return process

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(self._ready_timeout):
                while process.returncode is None:
                    if await self._ready():
                        return
                    await asyncio.sleep(READY_POLL)
        except TimeoutError:
            raise ChildError(f"{self.name} was not ready in {self._ready_timeout:g} s") from None
        raise ChildError(f"{self.name} ended at its start with exit code {process.returncode}")

    async def _supervise(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        backoff = BACKOFF_FIRST
        while True:
            started = loop.time()
            exit_code = await process.wait()
            if loop.time() - started >= STEADY_AFTER:
                backoff = BACKOFF_FIRST
            log.error("child_died", child=self.name, pid=process.pid, exit_code=exit_code)
            while True:
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, BACKOFF_LIMIT)
                try:
                    process = await self._launch()
                    break
                except Exception as error:  # whatever it was, the child is still needed
                    log.error("child_restart_failed", child=self.name, error=str(error))
                    await self._end(0)

    async def _end(self, grace: float) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if grace > 0:
                process.terminate()
                try:
                    async with asyncio.timeout(grace):
                        await process.wait()
                        return
                except TimeoutError:
                    log.warning("child_killed", child=self.name, pid=process.pid)
            process.kill()
        await process.wait()
