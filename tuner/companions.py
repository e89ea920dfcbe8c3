"""Which points of a trial belong together: those of its workloads under one load. Pure."""

from collections.abc import Callable, Mapping, Sequence

from tuner.results import Load, Point, Trial
from tuner.sustained import sustained, within

Keep = Callable[[Sequence[Point]], Sequence[Point]]
"""Of the points of a workload that climbed by itself, best first, those that are combined with others."""


def companions(trial: Trial, point: Point, loads: Mapping[str, Load] | None = None) -> list[Point]:
    """Return the valid points of a trial's other workloads and classes that go with one of its points.

    Args:
        trial: the trial.
        point: one of its points.
        loads: workload or class -> load, which say what is meant where several of its points go with it; otherwise it
            is the first one, of workloads that climbed by themselves the best.
    """
    together = [point]
    for workload in _others(trial, point):
        found = _going_with(trial, together, workload)
        meant = [one for one in found if loads and one.load == loads.get(workload)]
        together += (meant or found)[:1]
    return together[1:]


def combinations(
    trial: Trial, point: Point, others: Sequence[str] | None = None, keep: Keep = lambda points: points
) -> list[tuple[Point, ...]]:
    """Return a point with one of each other workload and class that go with it, in every way that there is.

    Points of workloads that were measured at once go together where they are of the same window. Where each workload
    climbed by itself, any point of one goes with any of the others. Otherwise workloads with the same kind of load,
    both of which change it (a closed loop beside a closed loop), go together under the same load. Any other workload
    was measured by itself: each of its loads goes with this one.

    Args:
        trial: the trial.
        point: one of its points.
        others: names of the other workloads and classes; None: all that were measured.
        keep: there are as many ways as the product of the workloads' levels where each climbed by itself; it may take
            less of them.
    """
    found: list[tuple[Point, ...]] = [(point,)]
    for workload in _others(trial, point) if others is None else others:
        found = [
            (*together, one)
            for together in found
            for one in _kept(trial, _going_with(trial, together, workload), workload, together, keep)
        ]
    return found


def best_first(trial: Trial, workload: str) -> list[Point]:
    """Return the valid points of a workload that climbed by itself, one of each load, the best first.

    That is the highest load that it certainly sustains, with all its classes, down to the lowest, then those whose
    measured values keep every bound, then the others, the least over a bound first.
    """
    by_load: dict[Load, list[Point]] = {}
    for one in trial.points:
        if _root(one.workload) == _root(workload):
            by_load.setdefault(one.load, []).append(one)

    def merit(point: Point) -> tuple[bool, bool, float]:
        same = by_load[point.load]
        over = max((share for one in same for share in one.violations.values()), default=0.0)
        fine = all(map(within, same))
        return all(map(sustained, same)), fine, point.load.level if fine else -over

    return sorted(_one_of_each_load(trial, workload), key=merit, reverse=True)


def _others(trial: Trial, point: Point) -> list[str]:
    return list(dict.fromkeys(one.workload for one in trial.points if one.workload != point.workload))


def _kept(
    trial: Trial, found: Sequence[Point], workload: str, together: Sequence[Point], keep: Keep
) -> Sequence[Point]:
    return keep(found) if trial.own_loads and _tied_to(trial, together, workload) is None else found


def _going_with(trial: Trial, together: Sequence[Point], workload: str) -> list[Point]:
    """Return the valid points of a workload that go with those of others, one of each load."""
    window = together[0].window
    if window is not None:
        return [one for one in trial.points if (one.workload, one.window) == (workload, window) and one.validity.valid]
    tied = _tied_to(trial, together, workload)
    if tied is None:
        return best_first(trial, workload) if trial.own_loads else _one_of_each_load(trial, workload)
    return [one for one in _one_of_each_load(trial, workload) if one.load == tied.load]


def _one_of_each_load(trial: Trial, workload: str) -> list[Point]:
    by_load: dict[Load, Point] = {}
    for one in trial.points:
        if one.workload == workload and one.validity.valid:
            by_load.setdefault(one.load, one)
    return list(by_load.values())


def _tied_to(trial: Trial, together: Sequence[Point], workload: str) -> Point | None:
    """Return one of some points that a workload is under the same load as, None where it is with none."""
    return next((one for one in together if _tied(trial, one.workload, workload)), None)


def _tied(trial: Trial, first: str, second: str) -> bool:
    """Whether the loads of two workloads change together.

    The classes of a mix are under the load of their workload. Where workloads climbed by themselves, nothing else does.
    A climb of all workloads to one level asked each of them there before it went on to the next level, and may have
    ended before the second one was asked more than once: older runs have such trials. One whose load is fixed was asked
    before or after all levels of the other.
    """
    if trial.own_loads:
        return _root(first) == _root(second)
    points = {name: [at for at, one in enumerate(trial.points) if one.workload == name] for name in (first, second)}
    loads = [{trial.points[at].load for at in found} for found in points.values()]
    if len({one.mode for each in loads for one in each}) != 1 or max(map(len, loads)) == 1:
        return False
    if min(map(len, loads)) > 1:
        return True
    fewer, more = sorted(points.values(), key=lambda found: len({trial.points[at].load for at in found}))
    return more[0] < fewer[0] < more[-1]


def _root(workload: str) -> str:
    """Return the workload that a class is of, and a workload itself."""
    return workload.partition(".")[0]
