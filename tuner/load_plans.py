"""Which loads a trial measures: given ones in turn, or those that a climb to the highest sustainable one asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tuner.catalog import BOUNDED
from tuner.climb import next_level
from tuner.results import Load, Point
from tuner.workload import Workload

At = tuple[Workload, Load]


class LoadPlan(Protocol):
    """Says what is measured next, from what was measured so far."""

    climbs: bool
    """Whether every point is a question of its own, so that none is cut short for what others showed."""

    def next(self, points: Sequence[Point]) -> At | None:
        """Return the next load, None when nothing is left to measure."""
        ...


class InTurn:
    """Given loads, one after the other."""

    climbs = False

    def __init__(self, loads: Iterable[At]) -> None:
        self._loads = iter(loads)

    def next(self, points: Sequence[Point]) -> At | None:  # noqa: ARG002 - they are given
        """Return the next of them."""
        return next(self._loads, None)


@dataclass(frozen=True)
class Ladder:
    """The load levels of a study that is searched for the highest sustainable one.

    Attributes:
        name: `concurrency` or `rate`.
        scan: the levels of the space, ascending.
        resolution: how near a missed level has to be to the met one below it, as a share.
        others: level of the other one of the two, where the study fixes it.
    """

    name: str
    scan: tuple[float, ...]
    resolution: float
    others: float | None = None


@dataclass(frozen=True)
class Climb:
    """Looks for the highest level at which every workload meets its SLO.

    Workloads whose load does not change are measured first, once; if one of them misses its SLO, one level is measured
    all the same, so that the configuration has a point. At the first level all workloads are measured, at the others
    in turn until one misses its SLO.

    Attributes:
        workloads: of the study.
        ladder: the levels.
        start: the level to begin at.
    """

    workloads: Sequence[Workload]
    ladder: Ladder
    start: float
    climbs = True

    def next(self, points: Sequence[Point]) -> At | None:
        """Return the next load."""
        fixed = [one for one in self.workloads if one.level_name != self.ladder.name]
        for workload in fixed:
            if not _of(workload, points):
                return workload, workload.at(self.ladder.others)
        climbing = [one for one in self.workloads if one.level_name == self.ladder.name]
        results: dict[float, bool] = {}
        for level in dict.fromkeys(point.load.level for point in _of(climbing[0], points)):
            at_level = [point for point in points if point.load.level == level]
            met = all(sustained(point) for one in climbing for point in _of(one, at_level))
            unmeasured = [one for one in climbing if not _of(one, at_level)]
            if unmeasured and (met or not results):  # a configuration has a point on every workload
                return unmeasured[0], unmeasured[0].at(level)
            results[level] = met
        if results and not all(sustained(point) for one in fixed for point in _of(one, points)):
            return None
        whole = self.ladder.name == "concurrency"
        level_or_none = next_level(results, self.ladder.scan, self.start, self.ladder.resolution, whole=whole)
        return None if level_or_none is None else (climbing[0], climbing[0].at(level_or_none))


def _of(workload: Workload, points: Sequence[Point]) -> list[Point]:
    """Return the points of a workload and of its classes."""
    names = {part.name for part in workload.parts}
    return [point for point in points if point.workload in names]


def sustained(point: Point) -> bool:
    """Whether a point shows that its load can be sustained: every bound is kept, and certainly so on latency.

    Bounds on errors and accuracy are mostly undecided in so short a time; there the measured value decides.
    """
    if not point.validity.valid or any(over > 0 for over in point.violations.values()):
        return False
    return all(verdict == "met" or name not in BOUNDED for name, verdict in point.verdicts.items())
