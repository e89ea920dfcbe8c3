"""Which loads a trial measures: given ones in turn, or those that a climb to the highest sustainable one asks for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from tuner.catalog import BOUNDED, METRICS
from tuner.climb import next_level
from tuner.results import Load, Point
from tuner.workload import At, Workload, at_once

GROWTH = 0.5
"""A server is full where a load that is larger by a factor brings throughput that is larger by less than its root.

It is this power of the factor. While requests wait for a batch to fill, throughput grows nearly as the load does. Let
batches of b requests take fixed + each * b, and wait no longer than a delay. Where throughput grew by less than the
root, each * load is more than the delay; so at twice the load or more, where no request waits for its batch, a latency
is longer still: what missed its bound misses it there.
"""


class LoadPlan(Protocol):
    """Says what is measured next, from what was measured so far."""

    climbs: bool
    """Whether every point is a question of its own, so that none is cut short for what others showed."""

    def next(self, points: Sequence[Point]) -> tuple[At, ...] | None:
        """Return the loads that are measured next, in one window; None when nothing is left to measure."""
        ...


class InTurn:
    """The loads of given windows, one window after the other."""

    climbs = False

    def __init__(self, windows: Iterable[tuple[At, ...]]) -> None:
        self._loads = iter(windows)

    def next(self, points: Sequence[Point]) -> tuple[At, ...] | None:  # noqa: ARG002 - they are given
        """Return the next of them."""
        return next(self._loads, None)


@dataclass(frozen=True)
class Ladder:
    """The load levels of a study that is searched for the highest sustainable one.

    Attributes:
        name: `concurrency`, `rate` or `users`.
        scan: the levels of the space, ascending.
        resolution: how near a missed level has to be to the met one below it, as a share.
        others: names of the others to their levels, where the study fixes them.
    """

    name: str
    scan: tuple[float, ...]
    resolution: float
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Climb:
    """Looks for the highest level at which every workload meets its SLO.

    Workloads whose load does not change are measured first, once; if one of them misses its SLO, one level is measured
    all the same, so that the configuration has a point. Of one that too few requests leave undecided nothing is known,
    so the others are climbed. At the first level all workloads are measured, at the others in turn until one misses its
    SLO. Workloads that are measured at once are so at every level.

    Attributes:
        workloads: of the study.
        ladder: the levels.
        start: the level to begin at.
    """

    workloads: Sequence[Workload]
    ladder: Ladder
    start: float
    climbs = True

    def next(self, points: Sequence[Point]) -> tuple[At, ...] | None:
        """Return the next load, or all of the next window."""
        if not at_once(self.workloads):
            found = self._next_in_turn(points)
            return None if found is None else (found,)
        windows = dict.fromkeys(point.window for point in points)
        of_windows = ([point for point in points if point.window == one] for one in windows)
        level = self._level({self._level_of(found): all(map(sustained, found)) for found in of_windows}, points)
        if level is None:
            return None
        climbing = self._climbing
        return tuple((one, one.at(level) if one in climbing else self._fixed(one)) for one in self.workloads)

    @property
    def _climbing(self) -> list[Workload]:
        return [one for one in self.workloads if one.level_name == self.ladder.name and not one.fixed_level]

    def _fixed(self, workload: Workload) -> Load:
        """Return the load of a workload that does not climb."""
        return workload.at(self.ladder.others.get(workload.level_name))

    def _level_of(self, points: Sequence[Point]) -> float:
        """Return the level at which a window was measured."""
        return next(point.load.level for point in points if point.workload == self._climbing[0].name)

    def _level(self, results: Mapping[float, bool], points: Sequence[Point]) -> float | None:
        ladder, whole = self.ladder, self.ladder.name != "rate"
        full = [level for one in self._climbing for level in _full(one, points) if not results[level]]
        return next_level(results, ladder.scan, self.start, ladder.resolution, whole=whole, full=full)

    def _next_in_turn(self, points: Sequence[Point]) -> At | None:
        climbing = self._climbing
        fixed = [one for one in self.workloads if one not in climbing]
        for workload in fixed:
            if not _of(workload, points):
                return workload, self._fixed(workload)
        results: dict[float, bool] = {}
        for level in dict.fromkeys(point.load.level for point in _of(climbing[0], points)):
            at_level = [point for point in points if point.load.level == level]
            met = all(sustained(point) for one in climbing for point in _of(one, at_level))
            unmeasured = [one for one in climbing if not _of(one, at_level)]
            if unmeasured and (met or not results):  # a configuration has a point on every workload
                return unmeasured[0], unmeasured[0].at(level)
            results[level] = met
        if results and not all(_bearable(point) for one in fixed for point in _of(one, points)):
            return None
        level_or_none = self._level(results, points)
        return None if level_or_none is None else (climbing[0], climbing[0].at(level_or_none))


def _of(workload: Workload, points: Sequence[Point]) -> list[Point]:
    """Return the points of a workload and of its classes."""
    names = {part.name for part in workload.parts}
    return [point for point in points if point.workload in names]


def _full(workload: Workload, points: Sequence[Point]) -> list[float]:
    """Return the levels at which more load brought a workload hardly more throughput, and those that were spoiled."""
    measured = {point.load.level: point for point in points if point.workload == workload.name}
    found = [level for level, point in measured.items() if not point.validity.valid]
    for below, level in pairwise(sorted(measured)):
        before, now = (measured[one].metrics[METRICS["throughput"].key].value for one in (below, level))
        if below > 0 and now < before * (level / below) ** GROWTH:
            found.append(level)
    return found


def _bearable(point: Point) -> bool:
    """Whether a load that does not change leaves something to look for: it is not known to be too much."""
    over = any(share > 0 for share in point.violations.values()) or "missed" in point.verdicts.values()
    return point.validity.valid and not over


def sustained(point: Point) -> bool:
    """Whether a point shows that its load can be sustained: every bound is kept, and certainly so on latency.

    Bounds on errors and accuracy are mostly undecided in so short a time; there the measured value decides.
    """
    if not point.validity.valid or any(over > 0 for over in point.violations.values()):
        return False
    return all(verdict == "met" or name not in BOUNDED for name, verdict in point.verdicts.items())
