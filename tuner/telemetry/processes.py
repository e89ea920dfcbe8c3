"""Which processes can be seen from here."""

from pathlib import Path

_OWN = Path("/proc/self/ns/pid")
_OF_HOST = 0xEFFFFFFC
"""Inode of the first namespace of process ids: PROC_PID_INIT_INO of Linux, include/linux/proc_ns.h."""


def sees_all_processes(namespace: Path = _OWN) -> bool:
    """Whether process ids are the host's: not in a container, unless it was given the host's."""
    try:
        return namespace.stat().st_ino == _OF_HOST
    except OSError:
        return False
