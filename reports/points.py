"""What several charts need of a run's points: which they are, whether they meet the SLO, what they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from reports import words
from tuner.companions import combinations, companions
from tuner.results import LEVEL_NAMES, Confirmation, Point, Result, Side, Trial, Value

LOAD_KNOBS = tuple(LEVEL_NAMES.values())


@dataclass(frozen=True)
class Placed:
    """A point with its place in the run.

    Attributes:
        trial: that it is of.
        index: among the trial's points.
        number: among all points of the run, in the order of the result.
    """

    trial: Trial
    index: int
    number: int

    @cached_property
    def point(self) -> Point:
        """The point."""
        return self.trial.points[self.index]


def all_points(result: Result) -> list[Placed]:
    """Return every point of a run, numbered."""
    pairs = [(trial, index) for trial in result.trials for index in range(len(trial.points))]
    return [Placed(trial, index, number) for number, (trial, index) in enumerate(pairs)]


def meets(result: Result, trial: Trial, point: Point) -> bool:
    """Return whether a point that counts and what goes with it on the other workloads meet every SLO, as measured.

    Where several of their loads go with it, it does so with one of them; of workloads that climbed by themselves the
    best of each is enough.
    """
    return meets_alone(trial, point) and any(
        {one.workload for one in together} == set(result.study.workloads)
        and all(violation <= 0 for one in together for violation in one.violations.values())
        for together in combinations(trial, point, keep=lambda points: points[:1])
    )


def meets_alone(trial: Trial, point: Point) -> bool:
    """Return whether a point that counts meets the SLO of its own workload, as measured."""
    return trial.counts(point) and all(violation <= 0 for violation in point.violations.values())


def server_part(config: Mapping[str, Value]) -> dict[str, Value]:
    """Return a configuration without its load level."""
    return {name: value for name, value in config.items() if name not in LOAD_KNOBS}


def called(result: Result, number: int) -> str:
    """Return what a trial is called in a legend."""
    if number == 0:
        return "your configuration"
    best = result.best is not None and result.best.trial == number
    return f"trial {number}, the best" if best else f"trial {number}"


def confirmed_sides(result: Result, made: Confirmation) -> Sequence[tuple[str, Side]]:
    """Return both sides of a confirmation with what they are called."""
    return [(called(result, side.trial), side) for side in (made.baseline, made.candidate)]


def best_point(result: Result) -> tuple[Trial, Point] | None:
    """Return the best trial and its point in the search, None where nothing is the best."""
    if result.best is None:
        return None
    trial = result.trial(result.best.trial)
    return (trial, trial.points[result.best.point]) if result.best.point < len(trial.points) else None


def own_point(result: Result) -> tuple[Trial, Point] | None:
    """Return the user's configuration and its point to compare with: the baseline's, or one that came close to the SLO.

    Where the baseline meets no SLO it is, of the points of the primary workload that count, the one least beyond it.
    """
    own = next((trial for trial in result.trials if trial.number == 0), None)
    if own is None:
        return None
    if result.baseline is not None and result.baseline.point < len(own.points):
        return own, own.points[result.baseline.point]
    primary = [point for point in own.points if point.workload == result.study.workloads[0] and own.counts(point)]
    if not primary:
        return None
    return own, min(primary, key=lambda point: max(point.violations.values(), default=0.0))


def together_with(result: Result, trial: Trial, point: Point) -> tuple[Point, ...]:
    """Return a point with those of the other workloads that go with it: of your configuration those that it is best at.

    Where several loads of another workload go with it otherwise, the first one is taken.
    """
    own = result.baseline
    of_own = own is not None and trial.number == own.trial and trial.points[own.point : own.point + 1] == [point]
    return (point, *companions(trial, point, own.loads if own is not None and of_own else None))


def beside(result: Result, trial: Trial, point: Point, workload: str) -> Point | None:
    """Return the point of a workload that goes with one of the primary workload: itself, or its companion."""
    return next((one for one in together_with(result, trial, point) if one.workload == workload), None)


def two_sides(result: Result, workload: str) -> Sequence[tuple[str, Trial, Point]]:
    """Return the user's configuration and the best under their loads on a workload: (name, trial, point).

    One of them where there is only one, or both are the same point.
    """
    found: dict[tuple[int, int], tuple[str, Trial, Point]] = {}
    for pair in (own_point(result), best_point(result)):
        if pair is None:
            continue
        trial, primary = pair
        point = beside(result, trial, primary, workload)
        if point is not None:
            name = f"{called(result, trial.number)}, {words.load(point.load)}"
            found.setdefault((trial.number, trial.points.index(point)), (name, trial, point))
    return list(found.values())
