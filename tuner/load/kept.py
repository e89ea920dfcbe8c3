"""How long a process was kept from the CPUs: by others, and by the limits of the control groups that it is in."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_SCHEDULED = Path("/proc/self/schedstat")
_OWN, _ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def waited_ns(place: Path = _SCHEDULED) -> int:
    """Return for how long the main thread had something to do and no CPU to do it on, so far; 0 where nobody counts.

    Args:
        place: the file in which Linux tells it: CPU time, time waited, and how often it ran.
    """
    try:
        return int(place.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def statistics_of_groups(root: Path = _ROOT, own: Path = _OWN) -> list[Path]:
    """Return the files in which the control groups of this process count for how long their limit held them back.

    Those of version 2 and of version 1, of its own group and of those above it.

    Args:
        root: where the groups are mounted.
        own: the file that names the groups of this process.
    """
    found: list[Path] = []
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            top = (
                next(filter(Path.exists, (root / name for name in (controllers, "cpu"))), root) if controllers else root
            )
            place = top / group.strip("/")
            folders = [one for one in (place, *place.parents) if one.is_relative_to(top)]
            found += [one / "cpu.stat" for one in folders if (one / "cpu.stat").exists()]
    return found


def held_back_ns(files: Sequence[Path]) -> int:
    """Return for how long the limits of control groups held their processes back, so far, over all CPUs.

    Args:
        files: see `statistics_of_groups`.
    """
    whole = 0
    for file in files:
        with suppress(OSError, ValueError):
            told = dict(line.split() for line in file.read_text().splitlines())
            whole += int(told.get("throttled_time", 0)) + 1000 * int(told.get("throttled_usec", 0))
    return whole
