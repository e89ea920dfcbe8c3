"""Many numbers with few digits."""

from collections.abc import Sequence


def short(numbers: Sequence[float], digits: int) -> list[str]:
    """Return numbers with so many significant digits, as the format `g` has them; all at once, for there are many."""
    return (f"%.{digits}g " * len(numbers) % tuple(numbers)).split()
