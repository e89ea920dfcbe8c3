"""Which points of a trial belong together: those of its workloads under one load. Pure."""

from collections.abc import Mapping, Sequence

from tuner.results import Load, Point, Trial


def companions(trial: Trial, point: Point, loads: Mapping[str, Load] | None = None) -> list[Point]:
    """Return the valid points of a trial's other workloads and classes that go with one of its points.

    Args:
        trial: the trial.
        point: one of its points.
        loads: workload or class -> load, which say what is meant where several of its points go with it; otherwise it
            is the first one.
    """
    together = [point]
    for workload in _others(trial, point):
        found = _going_with(trial, together, workload)
        meant = [one for one in found if loads and one.load == loads.get(workload)]
        together += (meant or found)[:1]
    return together[1:]


def combinations(trial: Trial, point: Point, others: Sequence[str] | None = None) -> list[tuple[Point, ...]]:
    """Return a point with one of each other workload and class that go with it, in every way that there is.

    Points of workloads that were measured at once go together where they are of the same window. Of others, workloads
    with the same kind of load, both of which change it (a closed loop beside a closed loop), go together under the same
    load. Any other workload was measured by itself: each of its loads goes with this one.

    Args:
        trial: the trial.
        point: one of its points.
        others: names of the other workloads and classes; None: all that were measured.
    """
    found: list[tuple[Point, ...]] = [(point,)]
    for workload in _others(trial, point) if others is None else others:
        found = [(*together, one) for together in found for one in _going_with(trial, together, workload)]
    return found


def _others(trial: Trial, point: Point) -> list[str]:
    return list(dict.fromkeys(one.workload for one in trial.points if one.workload != point.workload))


def _going_with(trial: Trial, together: Sequence[Point], workload: str) -> list[Point]:
    """Return the valid points of a workload that go with those of others, one of each load."""
    window = together[0].window
    valid = [one for one in trial.points if one.workload == workload and one.validity.valid]
    if window is not None:
        return [one for one in valid if one.window == window]
    tied = next((one for one in together if _tied(trial, one.workload, workload)), None)
    by_load: dict[Load, Point] = {}
    for one in valid:
        if tied is None or one.load == tied.load:
            by_load.setdefault(one.load, one)
    return list(by_load.values())


def _tied(trial: Trial, first: str, second: str) -> bool:
    """Whether the loads of two workloads change together.

    A climb asks each workload whose load it raises at one level before it goes on to the next, and may end before the
    second one was asked more than once. One whose load is fixed is asked before or after all levels of the other.
    """
    points = {name: [at for at, one in enumerate(trial.points) if one.workload == name] for name in (first, second)}
    loads = [{trial.points[at].load for at in found} for found in points.values()]
    if len({one.mode for each in loads for one in each}) != 1 or max(map(len, loads)) == 1:
        return False
    if min(map(len, loads)) > 1:
        return True
    fewer, more = sorted(points.values(), key=lambda found: len({trial.points[at].load for at in found}))
    return more[0] < fewer[0] < more[-1]
