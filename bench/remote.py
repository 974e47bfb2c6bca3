"""An object in a process of its own: calls go over a pipe, and it dies with its owner.

`python -m bench.remote MODULE CLASS DESCRIPTOR` is the other end, started by `Remote`.
"""

import importlib
import os
import subprocess
import sys
import traceback
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, Self

from skyeim_ws.process import pdeathsig

STOP_DEADLINE = 10.0


class Remote:
    """The owner's end; a context manager. Whatever still runs at the end is killed."""

    def __init__(self, module: str, kind: str) -> None:
        self._pipe, theirs = Pipe()
        descriptor = theirs.fileno()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", pdeathsig.__file__, str(os.getpid()), "--"),
                *(sys.executable, "-m", "bench.remote", module, kind, str(descriptor)),
            ],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            # A Ctrl-C at the terminal is for the owner, which then ends this.
            start_new_session=True,
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # There is nothing that it would have to bring to an end.
        self._process.kill()
        self._process.wait(STOP_DEADLINE)
        self._pipe.close()

    def tell(self, method: str, *arguments: object) -> None:
        """Call a method without waiting for it; unless it never returns, ask for the `answer`."""
        self._pipe.send((method, arguments))

    def call(self, method: str, *arguments: object, timeout: float) -> Any:
        """Call a method and return its result.

        Raises TimeoutError, or RuntimeError with the text of what it raised.
        """
        self.tell(method, *arguments)
        return self.answer(method, timeout)

    def answer(self, method: str, timeout: float) -> Any:
        """Return the result of a method that was called by `tell`; raises as `call` does."""
        if not self._pipe.poll(timeout):
            raise TimeoutError(f"{method} took longer than {timeout:g} s")
        try:
            result, failure = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise RuntimeError(f"{method}: its process has ended") from None
        if failure:
            raise RuntimeError(f"{method} failed in its process:\n{failure}")
        return result


def main() -> None:
    """Make the object and serve it until its owner is gone."""
    module, kind, descriptor = sys.argv[1:]
    served = getattr(importlib.import_module(module), kind)()
    pipe = Connection(int(descriptor))
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = (getattr(served, method)(*arguments), "")
        except Exception:
            answer = (None, traceback.format_exc())
        try:
            pipe.send(answer)
        except BrokenPipeError:
            os._exit(1)  # the owner is gone, and nobody reads what would be said


if __name__ == "__main__":
    main()
