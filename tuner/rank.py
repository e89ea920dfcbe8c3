"""Which points count, which is the best of them, and which came closest when none did. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from tuner.catalog import LABELLED, on_metric
from tuner.companions import best_first, combinations
from tuner.front import membership, non_dominated
from tuner.objective import Goal, Objective, evaluate, pessimistic
from tuner.results import Closest, Estimate, FrontPoint, Load, Point, Trial
from tuner.sustained import within

LEAST_MEMBERSHIP = 0.05
"""Points that are less probably on the front are not listed, unless their measured values are on it."""
DRAWS = 1000
FEW = 2
"""Loads that a candidate may have of a workload that climbed by itself: the best, and one in case that is missed."""


@dataclass(frozen=True)
class Candidate:
    """A point of the primary workload with what goes with it on the others.

    Attributes:
        trial: the trial.
        point: index of the primary workload's point in it.
        objective: values and violations over all workloads.
        points: what that was evaluated from: the primary workload's point, then one of each other workload.
    """

    trial: Trial
    point: int
    objective: Objective
    points: tuple[Point, ...]

    @cached_property
    def feasible(self) -> bool:
        """Whether every SLO is met on every workload."""
        return self.objective.feasible

    @property
    def loads(self) -> dict[str, Load]:
        """Workload or class -> the load that it was measured at."""
        return {one.workload: one.load for one in self.points}

    @property
    def workload_loads(self) -> dict[str, Load]:
        """The same of the workloads alone, the primary one first."""
        return {name: load for name, load in self.loads.items() if "." not in name}


def candidates(trials: Sequence[Trial], workloads: Sequence[str], goals: Sequence[Goal]) -> list[Candidate]:
    """Return every valid primary point with each combination of points of the other workloads that go with it.

    Args:
        trials: any; those that were not measured, and points that are not valid, are passed over.
        workloads: names, the primary one first.
        goals: the objectives.
    """
    found = []
    for trial in trials:
        keep = partial(_telling, trial, goals)
        for point in _of_primary(trial, workloads[0], goals):
            if not trial.counts(point):
                continue
            index = next(index for index, one in enumerate(trial.points) if one is point)
            found += [
                Candidate(trial, index, evaluate(together, goals), together)
                for together in combinations(trial, point, workloads[1:], keep)
                if _has_all(together, goals)
            ]
    return found


def _of_primary(trial: Trial, workload: str, goals: Sequence[Goal]) -> Sequence[Point]:
    """Return the points of the primary workload that make candidates; where it climbed by itself the best first."""
    if not trial.own_loads:
        return [point for point in trial.points if point.workload == workload]
    points = best_first(trial, workload)
    return points if _about(goals, workload) else _telling(trial, goals, points)


def _about(goals: Sequence[Goal], workload: str) -> list[Goal]:
    """Return the objectives that are about a workload or a class of it."""
    return [goal for goal in goals if goal.workload.partition(".")[0] == workload]


def _telling(trial: Trial, goals: Sequence[Goal], points: Sequence[Point]) -> Sequence[Point]:
    """Return those points of a workload that climbed by itself which change what a trial is worth.

    No load of a workload makes a load of another one better or worse. So of one that no objective is about a few of the
    best are enough; of others those are added that no load of the same workload beats on all of its objectives.

    Args:
        trial: the trial.
        goals: the objectives.
        points: of the workload, the best first.
    """
    fine = [one for one in points if within(one)]
    if not fine:
        return points[:1]
    about = _about(goals, fine[0].workload)
    measured = [
        {one.workload: one for one in trial.points if one.load == point.load and one.validity.valid} for point in fine
    ]
    having = [at for at, found in enumerate(measured) if _has_all(list(found.values()), about)]
    kept = set(range(FEW))
    if about and having:
        values = np.array([evaluate(list(measured[at].values()), about).values for at in having])
        on_front = non_dominated(values, [goal.maximize for goal in about])
        kept |= {at for at, keep in zip(having, on_front, strict=True) if keep}
    return [one for at, one in enumerate(fine) if at in kept]


def worth(trial: Trial, workloads: Sequence[str], goals: Sequence[Goal]) -> Objective:
    """Return what a sampler is told of a complete trial: its best feasible point, else the one that came closest.

    A trial without a point on every workload (its load was given up when one of them missed its SLO) has the worst
    values, and the violations of what was measured last.
    """
    if found := best_of_each(candidates([trial], workloads, goals), goals[0]):
        return found[0].objective
    violated = {f"{one.workload}.{name}": over for one in trial.points for name, over in one.violations.items()}
    return replace(pessimistic(goals, ()), violations=violated)


def best_of_each(found: Sequence[Candidate], goal: Goal) -> list[Candidate]:
    """Return one candidate of each trial: its best feasible one on a goal, else the one that came closest."""
    by_trial: dict[int, list[Candidate]] = {}
    for one in found:
        by_trial.setdefault(one.trial.number, []).append(one)
    return [(by_value(group, goal) or nearest(group))[0] for group in by_trial.values()]


def by_value(found: Sequence[Candidate], goal: Goal) -> list[Candidate]:
    """Return the feasible ones, best first on the first goal."""
    feasible = [one for one in found if one.feasible]
    return sorted(feasible, key=lambda one: one.objective.values[0], reverse=goal.maximize)


def feasible_front(found: Sequence[Candidate], goals: Sequence[Goal]) -> list[Candidate]:
    """Return the feasible ones that no other feasible one beats on every goal, by their measured values."""
    feasible = [one for one in found if one.feasible]
    if not feasible:
        return []
    values = np.array([one.objective.values for one in feasible])
    best = non_dominated(values, [goal.maximize for goal in goals])
    return [one for one, keep in zip(feasible, best, strict=True) if keep]


def pareto(found: Sequence[Candidate], goals: Sequence[Goal]) -> list[FrontPoint]:
    """Return the points that are on the front or may be, in the order of the first goal.

    Those are the non-dominated ones by their measured values, and the others whose probability of being on the front
    under the measurement noise (`front.membership`) is at least LEAST_MEMBERSHIP.

    The front trades the objectives against one another, so a bound on an objective itself keeps no point off it;
    every other missed SLO does.

    The noise is drawn from a generator with a fixed seed: the same points always give the same probabilities.
    Accuracies have none here: all variants answer the same items, so it is common to all of them.

    A point that goes with several loads of the other workloads is listed once, with those that it does best with.
    """
    admitted = _admitted(found, goals)
    if not admitted:
        return []
    maximize = [goal.maximize for goal in goals]
    measured = [_estimates(one, goals) for one in admitted]
    values = np.array([one.objective.values for one in admitted])
    low = np.array([[estimate.low for estimate in row] for row in measured])
    high = np.array([[estimate.high for estimate in row] for row in measured])
    exact = np.array([goal.metric in LABELLED for goal in goals])
    low, high = np.where(exact, values, low), np.where(exact, values, high)
    on_front = non_dominated(values, maximize)
    drawn, lowest, highest = np.maximum([values, low, high], 0.0)  # a mean score below 0 has no logarithm
    probable = membership(drawn, lowest, highest, maximize, np.random.default_rng(0), DRAWS)
    kept = np.flatnonzero(on_front | (probable >= LEAST_MEMBERSHIP))
    best_first = sorted(kept, key=lambda index: (not on_front[index], -probable[index]))
    once: dict[tuple[int, int], int] = {}
    for index in best_first:
        once.setdefault((admitted[index].trial.number, admitted[index].point), int(index))
    return [
        front_point(admitted[index], float(probable[index]), on_front=bool(on_front[index]))
        for index in sorted(once.values(), key=lambda index: (admitted[index].objective.values, index))
    ]


def front_point(one: Candidate, membership: float, *, on_front: bool) -> FrontPoint:
    """Return a candidate as results tell of it."""
    return FrontPoint(
        trial=one.trial.number,
        point=one.point,
        loads={name: load for name, load in one.loads.items() if name != one.points[0].workload},
        meets_slo=one.feasible,
        membership=membership,
        on_front=on_front,
    )


def _admitted(found: Sequence[Candidate], goals: Sequence[Goal]) -> list[Candidate]:
    """Return the candidates that miss no SLO but on the objectives, one for each point and values of the objectives.

    What the others' loads do not change would be drawn several times, and each draw take a share of the membership.
    """
    traded = {f"{goal.workload}.{goal.metric}" for goal in goals}
    admitted: dict[tuple[int, int, tuple[float, ...]], Candidate] = {}
    for one in found:
        if all(over <= 0 for name, over in one.objective.violations.items() if on_metric(name) not in traded):
            key = one.trial.number, one.point, one.objective.values
            if key not in admitted or (one.feasible and not admitted[key].feasible):
                admitted[key] = one
    return list(admitted.values())


def nearest(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates in the order of their worst violation, the smallest first."""
    return sorted(found, key=lambda one: max(one.objective.violations.values(), default=0.0))


def closest(found: Sequence[Candidate]) -> Closest | None:
    """Return the point whose worst violation is the smallest, None when nothing was measured."""
    if not found:
        return None
    best = nearest(found)[0]
    missed = {name: value for name, value in best.objective.violations.items() if value > 0}
    return Closest(trial=best.trial.number, point=best.point, missed=missed)


def _has_all(together: Sequence[Point], goals: Sequence[Goal]) -> bool:
    """Whether every objective was measured: a class without an answer has no times of tokens."""
    by_workload = {point.workload: point for point in together}
    return all(goal.workload in by_workload and goal.key in by_workload[goal.workload].metrics for goal in goals)


def _estimates(candidate: Candidate, goals: Sequence[Goal]) -> list[Estimate]:
    """Return the estimates of a candidate's objective values, in the order of the goals."""
    by_workload = {point.workload: point for point in candidate.points}
    return [by_workload[goal.workload].metrics[goal.key] for goal in goals]
