"""How much memory is free: on this host, and within the limits of the control groups that this process is in."""

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
    try:
        named = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return free
    group = root / named.strip("/")
    for one in [group, *group.parents]:
        if one.is_relative_to(root) and (within := _free_within(one)) is not None:
            free = min(free, within)
    return max(0, free)


def _free_within(group: Path) -> int | None:
    """Return what a group has left of its limit, in bytes; None without one."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(held.get("inactive_file", 0))
