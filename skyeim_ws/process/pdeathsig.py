"""Runs a command that dies with its parent: `pdeathsig.py PARENT_PID -- COMMAND...`.

The kernel kills the command when the thread that started it ends, however it ends, kill -9
included. The thread, not the process: start it from one that lives as long as the program, such
as the main thread. What the command itself forks is not covered.

It is run as a file by `python -I -S`, and imports little, because it stands before each start.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

CANNOT_EXECUTE = 127


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and become the command; does not return.

    Exits with 1 on a usage error, 127 if the command cannot be executed, and is killed if the
    parent is gone already.
    """
    if len(arguments) < 3 or not arguments[0].isdigit() or arguments[1] != "--":
        sys.exit("usage: pdeathsig.py PARENT_PID -- COMMAND...")
    parent, command = int(arguments[0]), arguments[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # They would end the command while it has not said yet what they mean.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # If the parent died before the line above, the kernel does not tell us any more.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - to run what it is given is its purpose
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    main(sys.argv[1:])
