"""The inner search: the highest load at which a configuration meets its SLO, in few measurements. Pure.

Neither throughput nor a percentile is monotone in the load, so nothing is concluded from a level about others but
where to look next. Levels of the study, each about twice the one before, are scanned: every one of them before a
configuration is given up, and, once the SLO is met somewhere, those above the highest that meets it. Between that one
and the missed one next above it the interval is halved.
"""

from collections.abc import Collection, Mapping, Sequence
from math import inf, sqrt

FEW = 2
"""Of so many levels that are left below the nearest is next; of more the one in the middle."""


def next_level(
    results: Mapping[float, bool],
    scan: Sequence[float],
    start: float,
    resolution: float,
    *,
    whole: bool,
    full: Collection[float] = (),
    starved: Collection[float] = (),
) -> float | None:
    """Return the next load level to measure, None when the highest one that meets the SLO is known well enough.

    Args:
        results: level -> whether it met the SLO, of those measured, in that order.
        scan: levels of the study, ascending, at least one.
        start: where to begin; the nearest level of the study is taken.
        resolution: a missed level is near enough to the met one below it when it is larger by this share at most.
        whole: levels are whole numbers.
        full: missed levels beyond which a higher load brings nothing. Once the SLO is met somewhere, levels above the
            next of them are passed over; a configuration that meets it nowhere is measured there, too.
        starved: missed levels at which a bound from below on the throughput was all that was missed.
    """
    if not results:
        return min(scan, key=lambda level: abs(level - start))
    untried = [level for level in doublings(scan) if level not in results]
    met = [level for level, fine in results.items() if fine]
    if not met:
        enough = _above_starved(results, untried, starved, resolution, whole=whole)
        return _first_met(results, untried, scan) if enough is None else enough
    highest = max(met)
    end = min((level for level in full if level > highest), default=inf)
    above = [level for level in untried if highest < level <= end]
    if above:
        return above[0]
    missed = min((level for level in results if level > highest), default=None)
    return None if missed is None else _between(highest, missed, resolution, whole=whole)


def _above_starved(
    results: Collection[float], untried: Sequence[float], starved: Collection[float], resolution: float, *, whole: bool
) -> float | None:
    """Return where a level that brings enough throughput may be: above those that bring too little, below any other.

    The interval is narrow where the bound is near what the server can do: levels of the study first, then it is halved.

    Args:
        results: levels that were measured, none of which met the SLO.
        untried: levels that are scanned and were not.
        starved: as `next_level` has it.
        resolution: how near levels are measured.
        whole: levels are whole numbers.
    """
    if not starved:
        return None
    lowest = max(starved)
    beyond = min((level for level in results if level > lowest), default=None)
    between = [level for level in untried if lowest < level < (inf if beyond is None else beyond)]
    if between:
        return between[len(between) // 2] if len(between) > FEW else between[0]
    return None if beyond is None else _between(lowest, beyond, resolution, whole=whole)


def doublings(levels: Sequence[float]) -> list[float]:
    """Return the levels that are scanned: the lowest, each that is at least twice the one before, and the highest.

    Args:
        levels: of a study, ascending, at least one.
    """
    found = [levels[0]]
    for level in levels[1:]:
        if level >= 2 * found[-1] or level == levels[-1]:
            found.append(level)
    return found


def _first_met(results: Mapping[float, bool], untried: Sequence[float], scan: Sequence[float]) -> float | None:
    """Return where a level may meet the SLO while none does: below all that were measured, then near the first of them.

    An SLO may be missed for want of load, too, so no level is left out; one that is certainly missed takes the
    shortest window.
    """
    below = [level for level in untried if level < min(results)]
    if below:
        return below[len(below) // 2] if len(below) > FEW else below[-1]
    first = scan.index(next(iter(results)))
    return min(untried, key=lambda level: abs(scan.index(level) - first), default=None)


def _between(met: float, missed: float, resolution: float, *, whole: bool) -> float | None:
    middle = sqrt(met * missed) if met > 0 else (met + missed) / 2
    if whole:
        middle = round(middle)
        if middle in (met, missed):
            middle = met + 1
    return middle if met < middle < missed and missed > met * (1 + resolution) else None
