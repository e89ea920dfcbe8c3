"""Which loads a trial measures: given ones in turn, or those that climbs to the highest sustainable ones ask for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from tuner.catalog import METRICS
from tuner.climb import next_level
from tuner.results import Load, Point
from tuner.sustained import bearable, starved, sustained
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

    @property
    def own_loads(self) -> bool:
        """Whether each workload has loads of its own, any of which goes with any load of the others."""
        ...

    def next(self, points: Sequence[Point]) -> tuple[At, ...] | None:
        """Return the loads that are measured next, in one window; None when nothing is left to measure."""
        ...


class InTurn:
    """The loads of given windows, one window after the other."""

    climbs = False
    own_loads = False

    def __init__(self, windows: Iterable[tuple[At, ...]]) -> None:
        self._loads = iter(windows)

    def next(self, points: Sequence[Point]) -> tuple[At, ...] | None:  # noqa: ARG002 - they are given
        """Return the next of them."""
        return next(self._loads, None)


@dataclass(frozen=True)
class Ladder:
    """The load levels of a study that is searched for the highest sustainable ones.

    Attributes:
        levels: `concurrency`, `rate` or `users` -> the levels of the space, ascending; one alone is fixed.
        resolution: how near a missed level has to be to the met one below it, as a share.
    """

    levels: Mapping[str, tuple[float, ...]]
    resolution: float

    def of(self, workload: Workload) -> tuple[float, ...]:
        """Return the levels that a workload climbs, () where its load is fixed."""
        found = self.levels.get(workload.level_name, ())
        return () if workload.fixed_level or len(found) < 2 else found

    def fixed(self, workload: Workload) -> Load:
        """Return the load of a workload that does not climb."""
        return workload.at(next(iter(self.levels.get(workload.level_name, ())), None))


@dataclass(frozen=True)
class Climb:
    """Looks for the highest level at which each workload meets its SLO.

    Workloads whose load does not change are measured first, once. Each of the others climbs by itself, on its own
    levels: first until each has met its SLO somewhere, then each to its end. Where one meets it at no level, or at the
    load that does not change, the configuration is infeasible: then the others need one point each, so that all are
    known. Of a load that too few requests leave undecided nothing is known, so it makes nothing infeasible.

    Workloads that are measured at once have their loads meet on one server: what one of them sustains depends on the
    levels of the others. They share one level, the highest at which all of them meet their SLO.

    Attributes:
        workloads: of the study.
        ladder: the levels.
        starts: workload -> the level to begin at; the one in the middle where it has none.
    """

    workloads: Sequence[Workload]
    ladder: Ladder
    starts: Mapping[str, float] = field(default_factory=dict)
    climbs = True

    @property
    def own_loads(self) -> bool:
        """Whether each workload climbs by itself."""
        return not at_once(self.workloads)

    def next(self, points: Sequence[Point]) -> tuple[At, ...] | None:
        """Return the next load, or all of the next window."""
        if at_once(self.workloads):
            return self._next_window(points)
        found = self._next_fixed(points) or self._next_climbing(points)
        return None if found is None else (found,)

    @property
    def _climbing(self) -> list[Workload]:
        return [one for one in self.workloads if self.ladder.of(one)]

    @property
    def _fixed(self) -> list[Workload]:
        return [one for one in self.workloads if not self.ladder.of(one)]

    def _next_fixed(self, points: Sequence[Point]) -> At | None:
        return next(((one, self.ladder.fixed(one)) for one in self._fixed if not _of(one, points)), None)

    def _next_climbing(self, points: Sequence[Point]) -> At | None:
        infeasible = not all(bearable(point) for one in self._fixed for point in _of(one, points))
        for one in self._climbing:
            results = _results(one, points, sustained)
            if results and (infeasible or any(results.values())):
                continue
            level = self._level(one, results, points)
            if level is not None:
                return one, one.at(level)
            infeasible = not any(_results(one, points, bearable).values())
        if infeasible:
            return None
        levels = ((one, self._level(one, _results(one, points, sustained), points)) for one in self._climbing)
        return next(((one, one.at(level)) for one, level in levels if level is not None), None)

    def _next_window(self, points: Sequence[Point]) -> tuple[At, ...] | None:
        first, *_ = climbing = self._climbing
        met: dict[float, bool] = {}
        for window in dict.fromkeys(point.window for point in points):
            together = [point for point in points if point.window == window]
            level = next(point.load.level for point in together if point.workload == first.name)
            met[level] = all(map(sustained, together))
        found = self._level(first, met, points)
        if found is None:
            return None
        return tuple((one, one.at(found) if one in climbing else self.ladder.fixed(one)) for one in self.workloads)

    def _level(self, workload: Workload, results: Mapping[float, bool], points: Sequence[Point]) -> float | None:
        """Return the level that a workload, or all that are measured at once with it, is measured at next."""
        scan, together = self.ladder.of(workload), [workload] if self.own_loads else self._climbing
        start = self.starts.get(workload.name, scan[len(scan) // 2])
        full = [level for one in together for level in _full(one, points) if not results[level]]
        whole = workload.level_name != "rate"
        wanting = [level for level in results if not results[level] and _starved(level, together, points)]
        return next_level(results, scan, start, self.ladder.resolution, whole=whole, full=full, starved=wanting)


def _of(workload: Workload, points: Sequence[Point]) -> list[Point]:
    """Return the points of a workload and of its classes."""
    names = {part.name for part in workload.parts}
    return [point for point in points if point.workload in names]


def _results(workload: Workload, points: Sequence[Point], fine: Callable[[Point], bool]) -> dict[float, bool]:
    """Return the levels of a workload, as they were measured -> whether all its points there are fine."""
    found: dict[float, bool] = {}
    for point in _of(workload, points):
        found[point.load.level] = found.get(point.load.level, True) and fine(point)
    return found


def _starved(level: float, together: Sequence[Workload], points: Sequence[Point]) -> bool:
    """Whether workloads that share a level missed there nothing but their throughput."""
    there = [point for one in together for point in _of(one, points) if point.load.level == level]
    missed = [point for point in there if not bearable(point)]
    return bool(missed) and all(map(starved, missed))


def _full(workload: Workload, points: Sequence[Point]) -> list[float]:
    """Return the levels at which more load brought a workload hardly more throughput, and those that were spoiled."""
    measured = {point.load.level: point for point in points if point.workload == workload.name}
    found = [level for level, point in measured.items() if not point.validity.valid]
    for below, level in pairwise(sorted(measured)):
        before, now = (measured[one].metrics[METRICS["throughput"].key].value for one in (below, level))
        if below > 0 and now < before * (level / below) ** GROWTH:
            found.append(level)
    return found
