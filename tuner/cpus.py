"""Sets of CPUs as the kernel writes them: `0,2-5`."""

import re
from collections.abc import Set as AbstractSet

_RANGE = re.compile(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", re.ASCII)


def parse_cpus(value: object) -> frozenset[int]:
    """Return the CPUs of a list in the kernel's syntax, of one number, or of several.

    Raises:
        ValueError: anything else, or no CPU at all.
    """
    cpus = _from_text(value) if isinstance(value, str) else _from_numbers(value)
    if cpus is None:
        raise ValueError(f"expected CPUs, like `0,2-5` or [0, 2], but got {value!r}")
    if not cpus:
        raise ValueError(f"expected at least one CPU, like `0,2-5`, but got {value!r}")
    return cpus


def format_cpus(cpus: AbstractSet[int]) -> str:
    """Return a set of CPUs as the kernel writes it, neighbours joined to ranges."""
    firsts = sorted(cpu for cpu in cpus if cpu - 1 not in cpus)
    lasts = sorted(cpu for cpu in cpus if cpu + 1 not in cpus)
    runs = zip(firsts, lasts, strict=True)
    return ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in runs)


def _from_text(text: str) -> frozenset[int] | None:
    """Return the CPUs, None where the syntax is wrong."""
    if not text.strip():
        return frozenset()
    ranges = [_RANGE.fullmatch(part) for part in text.split(",")]
    pairs = [(int(found[1]), int(found[2] or found[1])) for found in ranges if found]
    if len(pairs) < len(ranges) or any(last < first for first, last in pairs):
        return None
    return frozenset(cpu for first, last in pairs for cpu in range(first, last + 1))


def _from_numbers(value: object) -> frozenset[int] | None:
    """Return the CPUs, None where one is no number."""
    numbers = value if isinstance(value, list | frozenset) else [value]
    whole = [cpu for cpu in numbers if isinstance(cpu, int) and not isinstance(cpu, bool) and cpu >= 0]
    return frozenset(whole) if len(whole) == len(numbers) else None
