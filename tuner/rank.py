"""Which points count, which is the best of them, and which came closest when none did. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.front import non_dominated
from tuner.objective import Goal, Objective, evaluate
from tuner.results import Closest, FrontPoint, Point, Trial


@dataclass(frozen=True)
class Candidate:
    """A point of the primary workload with what goes with it on the others.

    Attributes:
        trial: the trial.
        point: index of the primary workload's point in it.
        objective: values and violations over all workloads.
    """

    trial: Trial
    point: int
    objective: Objective

    @property
    def feasible(self) -> bool:
        """Whether every SLO is met on every workload."""
        return self.objective.feasible


def candidates(trials: Sequence[Trial], workloads: Sequence[str], goals: Sequence[Goal]) -> list[Candidate]:
    """Return every valid primary point that was measured on all workloads.

    Args:
        trials: any; those that were not measured, and points that are not valid, are passed over.
        workloads: names, the primary one first.
        goals: the objectives.
    """
    found = []
    for trial in trials:
        if trial.state not in ("complete", "invalid"):
            continue
        for index, point in enumerate(trial.points):
            if point.workload != workloads[0] or not point.validity.valid:
                continue
            together = [point, *_companions(trial, point, workloads[1:])]
            if len(together) == len(workloads):
                found.append(Candidate(trial, index, evaluate(together, goals)))
    return found


def by_value(found: Sequence[Candidate], goal: Goal) -> list[Candidate]:
    """Return the feasible ones, best first on the first goal."""
    feasible = [one for one in found if one.feasible]
    return sorted(feasible, key=lambda one: one.objective.values[0], reverse=goal.maximize)


def pareto(found: Sequence[Candidate], goals: Sequence[Goal]) -> list[FrontPoint]:
    """Return the front over all points, in the order of the first goal.

    The front trades the objectives against one another, so a bound on an objective itself keeps no point off it;
    every other missed SLO does.
    """
    traded = {f"{goal.workload}.{goal.metric}" for goal in goals}
    admitted = [
        one
        for one in found
        if all(violation <= 0 for name, violation in one.objective.violations.items() if name not in traded)
    ]
    if not admitted:
        return []
    on_front = non_dominated(np.array([one.objective.values for one in admitted]), [goal.maximize for goal in goals])
    kept = [one for one, keep in zip(admitted, on_front, strict=True) if keep]
    kept.sort(key=lambda one: one.objective.values)
    return [FrontPoint(trial=one.trial.number, point=one.point, meets_slo=one.feasible) for one in kept]


def closest(found: Sequence[Candidate]) -> Closest | None:
    """Return the point whose worst violation is the smallest, None when nothing was measured."""
    if not found:
        return None
    best = min(found, key=lambda one: max(one.objective.violations.values(), default=0.0))
    missed = {name: value for name, value in best.objective.violations.items() if value > 0}
    return Closest(trial=best.trial.number, point=best.point, missed=missed)


def _companions(trial: Trial, point: Point, others: Sequence[str]) -> Iterator[Point]:
    """Yield each other workload's point at the same level, or its only one."""
    for workload in others:
        same = [one for one in trial.points if one.workload == workload and one.validity.valid]
        at_level = [one for one in same if one.load == point.load]
        yield from (at_level or same)[:1]
