"""The inner search: the highest load at which a configuration meets its SLO, in few measurements. Pure.

Neither throughput nor a percentile is monotone in the load, so nothing is concluded from a level about others but
where to look next: levels are scanned as they stand in the study, up while the SLO is met, down while it is not, and
between a met one and a missed neighbour above it the interval is halved.
"""

from collections.abc import Mapping, Sequence
from math import sqrt

TRIES_ABOVE = 2
"""Scanned levels above the start that are tried when all below it missed: an SLO may be missed for want of load."""


def next_level(
    results: Mapping[float, bool], scan: Sequence[float], start: float, resolution: float, *, whole: bool
) -> float | None:
    """Return the next load level to measure, None when the highest one that meets the SLO is known well enough.

    Args:
        results: level -> whether it met the SLO, of those measured.
        scan: levels of the study, ascending, at least one.
        start: where to begin; the nearest level of the scan is taken.
        resolution: a missed level is near enough to the met one below it when it is larger by this share at most.
        whole: levels are whole numbers.
    """
    if not results:
        return min(scan, key=lambda level: abs(level - start))
    met = [level for level, fine in results.items() if fine]
    if not met:
        return _first_met(results, scan)
    highest = max(met)
    missed = min((level for level, fine in results.items() if not fine and level > highest), default=None)
    if missed is None:
        return next((level for level in scan if level > highest), None)
    return _between(highest, missed, resolution, whole=whole)


def _first_met(results: Mapping[float, bool], scan: Sequence[float]) -> float | None:
    """Return where else a level may meet the SLO: below all that were measured, then a little above them."""
    below = [level for level in scan if level < min(results)]
    if below:
        return below[len(below) // 2] if len(below) > TRIES_ABOVE else below[-1]
    untried = [level for level in scan if level not in results]
    first = next(iter(results))
    tried_above = sum(level > first for level in results)
    return next((level for level in untried if level > first), None) if tried_above < TRIES_ABOVE else None


def _between(met: float, missed: float, resolution: float, *, whole: bool) -> float | None:
    middle = sqrt(met * missed) if met > 0 else (met + missed) / 2
    if whole:
        middle = round(middle)
        if middle in (met, missed):
            middle = met + 1
    return middle if met < middle < missed and missed > met * (1 + resolution) else None
