"""What a trial is worth: the study's objectives as numbers, its SLOs as violations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuner.catalog import LABELLED, key_of
from tuner.results import Point
from tuner.study.spec import OBJECTIVE

WORST = 1e9
"""Stands for infinity where a sampler needs a number."""


@dataclass(frozen=True)
class Goal:
    """One objective.

    Attributes:
        maximize: whether more is better.
        workload: whose metric.
        metric: its name.
    """

    maximize: bool
    workload: str
    metric: str

    @property
    def key(self) -> str:
        """The metric's key in results."""
        return key_of(self.metric)

    def __str__(self) -> str:
        return f"{'maximize' if self.maximize else 'minimize'} {self.workload}.{self.metric}"


@dataclass(frozen=True)
class Objective:
    """Values in the order of the goals, and violations by `WORKLOAD.SLO` (above 0: missed)."""

    values: tuple[float, ...]
    violations: Mapping[str, float]

    @property
    def feasible(self) -> bool:
        """Whether every SLO is met on every workload."""
        return all(violation <= 0 for violation in self.violations.values())


def parse_goals(objectives: Sequence[str], primary: str) -> tuple[Goal, ...]:
    """Return the goals of a study's validated objectives; without a workload's name they are about the primary one."""
    goals = []
    for text in objectives:
        match = OBJECTIVE.fullmatch(text)
        assert match is not None, f"the study was validated, but got {text!r}"
        goals.append(Goal(match["direction"] == "maximize", match["workload"] or primary, match["metric"]))
    return tuple(goals)


def evaluate(points: Sequence[Point], goals: Sequence[Goal]) -> Objective:
    """Return the objective of one point per workload."""
    by_workload = {point.workload: point for point in points}
    values = tuple(by_workload[goal.workload].metrics[goal.key].value for goal in goals)
    violated = {f"{point.workload}.{name}": value for point in points for name, value in point.violations.items()}
    return Objective(values, violated)


def pessimistic(goals: Sequence[Goal], constraints: Sequence[str]) -> Objective:
    """Return the objective of a configuration that could not be measured: worst values, everything violated."""
    return Objective(tuple(map(least, goals)), dict.fromkeys(constraints, WORST))


def least(goal: Goal) -> float:
    """Return the worst value of a goal; a score of answers may be below 0."""
    if not goal.maximize:
        return WORST
    return -WORST if goal.metric in LABELLED else 0.0


def evened(told: Sequence[Objective], maximize: Sequence[bool]) -> list[Objective]:
    """Return objectives for a sampler that scales each value and violation by the spread of all.

    Beside a single value of WORST all others would be the same to it. In its place stands the worst that was measured:
    of a value, 0.0 where there is none; of a violation 1.0 at least, for it is one. All have the same violations, in
    the same order, 0.0 where one was not looked at.

    Args:
        told: of the trials so far.
        maximize: per value, whether more is better.
    """
    measured = [_known(one.values[at] for one in told) for at in range(len(maximize))]
    worst = [
        (min(known) if more else max(known)) if known else 0.0 for known, more in zip(measured, maximize, strict=True)
    ]
    names = sorted({name for one in told for name in one.violations})
    furthest = {name: max([1.0, *_known(one.violations.get(name, 0.0) for one in told)]) for name in names}
    return [
        Objective(
            tuple(
                max(value, last) if more else min(value, last)
                for value, last, more in zip(one.values, worst, maximize, strict=True)
            ),
            {name: min(one.violations.get(name, 0.0), furthest[name]) for name in names},
        )
        for one in told
    ]


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if abs(value) < WORST]
