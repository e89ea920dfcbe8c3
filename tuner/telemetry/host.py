"""CPU and memory of the server's process tree: two readings around a window."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class TreeReading:
    """CPU seconds by process and resident bytes of all, at a time."""

    taken_ns: int
    cpu_s: dict[int, float]
    rss_bytes: int


def read_tree(processes: Sequence[int]) -> TreeReading:
    """Read the processes given; those that have ended are passed over."""
    cpu: dict[int, float] = {}
    rss = 0
    for pid in processes:
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            rss += process.memory_info().rss
        except psutil.Error:
            continue
        cpu[pid] = times.user + times.system
    return TreeReading(time.monotonic_ns(), cpu, rss)


def cores_used(earlier: TreeReading, later: TreeReading) -> float:
    """Return the CPU that the processes of both readings used between them, in cores."""
    used = sum(seconds - earlier.cpu_s[pid] for pid, seconds in later.cpu_s.items() if pid in earlier.cpu_s)
    return used / max(1e-9, (later.taken_ns - earlier.taken_ns) / 1e9)
