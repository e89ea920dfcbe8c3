"""Which points of a trial belong together: those of its workloads under one load. Pure."""

from collections.abc import Iterator, Sequence

from tuner.results import Point, Trial


def companions(trial: Trial, point: Point) -> list[Point]:
    """Return the valid points of a trial's other workloads and classes that go with one of its points."""
    others = dict.fromkeys(one.workload for one in trial.points if one.workload != point.workload)
    return list(among(trial, point, list(others)))


def among(trial: Trial, point: Point, others: Sequence[str]) -> Iterator[Point]:
    """Yield each named workload's or class' point under the same load as a point, or else its first one.

    Of workloads that were measured at once it is the point of the same window. Of others a workload whose load changes
    as this one's does (a closed loop beside a closed loop, where this one was measured at several levels) has to have
    been measured under the same load.
    """
    levels = {one.load for one in trial.points if one.workload == point.workload}
    for workload in others:
        if point.window is not None:
            at_once = (one for one in trial.points if (one.workload, one.window) == (workload, point.window))
            yield from (one for one in at_once if one.validity.valid)
            continue
        same = [one for one in trial.points if one.workload == workload and one.validity.valid]
        under_it = [one for one in same if one.load == point.load]
        tied = len(levels) > 1 and any(one.load.mode == point.load.mode for one in same)
        yield from (under_it or ([] if tied else same))[:1]
