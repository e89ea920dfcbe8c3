"""What there is to take: on this host, and within the limits of the control groups that this process is in."""

from collections.abc import Iterator
from pathlib import Path

import psutil

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def free_bytes(root: Path = _ROOT, own: Path = _OWN) -> int:
    """Return the memory that processes started here can take, in bytes.

    A container is told the host's memory, and is ended at its own limit. Limits are those of version 2 of the control
    groups, of each group from that of this process upwards; what one holds of files that are not in use is free.

    Args:
        root: where the groups are mounted.
        own: the file that names the group of this process.
    """
    free = int(psutil.virtual_memory().available)
    return max(0, min([free, *(within for one in _groups(root, own) if (within := _free_within(one)) is not None)]))


def cpu_time(root: Path = _ROOT, own: Path = _OWN) -> float | None:
    """Return how many CPUs' worth of time processes started here get together at most; None: no group has a limit.

    Args:
        root: where the groups are mounted.
        own: the file that names the group of this process.
    """
    return min((quota for one in _groups(root, own) if (quota := _cpus_within(one)) is not None), default=None)


def _groups(root: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, from its own upwards."""
    try:
        named = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    group = root / named.strip("/")
    yield from (one for one in [group, *group.parents] if one.is_relative_to(root))


def _cpus_within(group: Path) -> float | None:
    """Return the CPU time of a group in CPUs; None without a limit."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _free_within(group: Path) -> int | None:
    """Return what a group has left of its limit, in bytes; None without one."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(held.get("inactive_file", 0))
