"""A process of the rig, to be killed, stopped and started again."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parent.parent.parent


class Mortal(Protocol):
    """What a fault may strike."""

    async def kill(self) -> None:
        """End it as a crash does."""

    async def start(self) -> None:
        """Start it again."""

    def freeze(self) -> None:
        """Have it stand still."""

    def thaw(self) -> None:
        """Let it go on."""


class Process:
    """A command that can be killed and started again; what it says goes to a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._environment = os.environ | (environment or {})
        self._output = folder / f"{name}.out"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, as a leader of nothing: a signal to the driver is not for it."""
        with self._output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=self._environment,
            )

    def freeze(self) -> None:
        """Have it stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            process, self._process = self._process, None
            if process.returncode is None:
                process.kill()
            await process.wait()

    def check(self) -> None:
        """Fail if it has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise AssertionError(f"{self.name} ended: {self._output.read_text()[-3000:]}")
