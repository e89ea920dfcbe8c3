"""CPU and memory of the server's process tree: two readings around a window; and which CPU the host has."""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def cpu_model() -> str:
    """Return the name of the host's CPU; empty where the kernel gives none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
