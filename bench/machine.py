"""The machine: what it is, and whether it lets a process have enough connections."""

import os
import platform
import resource
from pathlib import Path

SPARE_DESCRIPTORS = 200


def describe() -> dict[str, object]:
    """Return what figures depend on, and what stands beside them in the file."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": list(os.getloadavg()),
        "descriptors": descriptors(),
    }


def raise_descriptors() -> None:
    """Allow this process, and those that it starts, as many descriptors as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptors() -> int:
    """Return how many descriptors a process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def most_connections() -> int:
    """Return how many connections a process may hold."""
    return descriptors() - SPARE_DESCRIPTORS


def kernel_bytes() -> int:
    """Return what the kernel has taken for itself: its objects, and the memory of TCP."""
    meminfo = Path("/proc/meminfo").read_text()
    [slab] = [int(line.split()[1]) for line in meminfo.splitlines() if line.startswith("Slab:")]
    sockets = Path("/proc/net/sockstat").read_text()
    [tcp] = [line.split() for line in sockets.splitlines() if line.startswith("TCP:")]
    return 1024 * slab + int(tcp[tcp.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")


def require_descriptors(connections: int) -> None:
    """Raise RuntimeError if a process cannot have so many connections."""
    needed = connections + SPARE_DESCRIPTORS
    if descriptors() < needed:
        raise RuntimeError(
            f"{needed} file descriptors are needed and a process may have {descriptors()}:"
            " raise the hard limit (ulimit -Hn), or measure less with --quick"
        )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
