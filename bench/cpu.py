"""The CPU time of a process, to the nanosecond."""

import time

_WHOLE_PROCESS = 2
"""CPUCLOCK_SCHED of the kernel: all threads, user and system time, ended threads included."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used; raises OSError if there is none.

    It is the clock of clock_getcpuclockid(3). /proc/PID/stat has the same time in steps of 10 ms,
    which is as much as a thousand messages cost.
    """
    return time.clock_gettime((~pid << 3) | _WHOLE_PROCESS)
