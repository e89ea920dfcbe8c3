"""A trial in a line: its configuration, what came of it, and what it gains over the user's own. Pure."""

import math
from collections.abc import Mapping, Sequence

from tuner.catalog import METRICS
from tuner.companions import companions
from tuner.objective import Goal
from tuner.rank import Candidate, best_of_each, candidates
from tuner.results import Point, Trial, Value
from tuner.run_info import MetricInfo
from tuner.space import Space
from tuner.units import format_load, format_measured, format_setting


class TrialWords:
    """Words for the trials of a study.

    Args:
        space: of the study.
        goals: of the study; a trial's line has their values.
        own: the metrics that only this kind of server has, for their units.
    """

    def __init__(self, space: Space, goals: Sequence[Goal], own: Sequence[MetricInfo] = ()) -> None:
        self._goals = goals
        self._metrics = {name: metric.unit for name, metric in METRICS.items()} | {one.name: one.unit for one in own}
        self._units = {parameter.name: parameter.knob.unit for parameter in space}

    def name(self, number: int) -> str:
        """Return `yours` for the baseline, else `trial N`."""
        return "yours" if number == 0 else f"trial {number}"

    def config(self, config: Mapping[str, Value]) -> str:
        """Return what is searched of a configuration, as `KNOB=VALUE ...`."""
        known = {name: unit for name, unit in self._units.items() if name in config}
        return " ".join(f"{name}={format_setting(config[name], unit)}" for name, unit in known.items())

    def gained(self, gain: float) -> str:
        """Return a gain in words: `1.30x yours`, or `1.85x lower than yours` where the first goal is minimised."""
        return f"{gain:.2f}x yours" if self._goals[0].maximize else f"{gain:.2f}x lower than yours"

    def counts(self, trial: Trial) -> bool:
        """Return whether a point of the first goal's workload may be used: a trial may have one, and others not."""
        first = self._goals[0].workload.partition(".")[0]
        return any(trial.counts(point) for point in trial.points if point.workload == first)

    def failure(self, trial: Trial) -> str:
        """Return why a trial is not complete, "" for one that is."""
        return "" if trial.state == "complete" else f"{trial.state}: {trial.reason}"

    def outcome(self, trial: Trial) -> str:
        """Return the values of the goals at the trial's best point and what it misses; why there is none otherwise."""
        if not self.counts(trial):
            return self.failure(trial) or "no measurement of it may be used"
        missed = self.missed(trial)
        verdict = f"misses {', '.join(missed)}" if missed and trial.number else ""
        if trial.number and (levels := self._searched_levels(trial)):
            verdict = f"at {levels} {verdict}".rstrip()
        found = [self._value(goal, point) for goal, point in self._of_goals(trial)]
        return f"{' '.join(found)} {verdict}".rstrip()

    def levels(self, trial: Trial) -> dict[str, float]:
        """Return workload -> its level at the trial's best point."""
        return {point.workload: point.load.level for point in self._judged(trial) if "." not in point.workload}

    def top(self, trial: Trial) -> Point:
        """Return the point of the first goal's workload where the trial is best, see `_judged`."""
        return self._judged(trial)[0]

    def missed(self, trial: Trial) -> list[str]:
        """Return what the best point and those that go with it miss, as `WORKLOAD.SLO`."""
        judged = self._judged(trial)
        return [f"{point.workload}.{name}" for point in judged for name, over in point.violations.items() if over > 0]

    def values(self, trial: Trial) -> dict[str, float]:
        """Return `WORKLOAD.METRIC` of each goal -> its value at the trial's best point."""
        return {
            f"{goal.workload}.{goal.metric}": point.metrics[goal.key].value for goal, point in self._of_goals(trial)
        }

    def gain(self, trial: Trial, baseline: Trial | None) -> float | None:
        """Return how many times better the trial is than the baseline on the first goal, as the search measured both.

        None where there is nothing to compare: no baseline, or none that meets the SLO.
        """
        own = None if baseline is None or trial.number == 0 else self._best(baseline)
        if baseline is None or own is None or not own.feasible:
            return None
        first = self._goals[0]
        pair = [self.values(one).get(f"{first.workload}.{first.metric}", math.nan) for one in (trial, baseline)]
        better, worse = pair if first.maximize else pair[::-1]
        return better / worse if worse > 0 and math.isfinite(better / worse) else None

    def _searched_levels(self, trial: Trial) -> str:
        """Return the load of the best point where there are several, and of the others that climbed by themselves."""
        top, names = self.top(trial), [point.workload for point in trial.points]
        several = [one for one in self._judged(trial) if "." not in one.workload and names.count(one.workload) > 1]
        loads = {one.workload: format_load(one.load.mode, one.load.level) for one in several}
        others = [f"{name} {load}" for name, load in loads.items() if name != top.workload and trial.own_loads]
        return ", ".join([*([loads[top.workload]] if top.workload in loads else []), *others])

    def _value(self, goal: Goal, point: Point) -> str:
        """Return `11,776/s` or `2.41/s` for a throughput, else the metric's name and value."""
        shown = format_measured(point.metrics[goal.key].value, self._metrics.get(goal.metric, ""))
        return shown if goal.metric == "throughput" else f"{goal.metric} {shown}"

    def _of_goals(self, trial: Trial) -> list[tuple[Goal, Point]]:
        points = self._judged(trial)
        return [(goal, point) for goal in self._goals for point in points if _is_of(goal, point)]

    def _judged(self, trial: Trial) -> tuple[Point, ...]:
        """Return the points that a trial is judged by, the one of the first goal's workload first.

        Of a trial none of whose points count they are those with the most goodput.
        """
        if best := self._best(trial):
            return best.points
        same = [point for point in trial.points if point.workload == self._workload] or trial.points
        fine = [point for point in same if _meets(point)]
        top = max(fine or same, key=lambda point: point.metrics["goodput_rps"].value)
        return (top, *companions(trial, top))

    def _best(self, trial: Trial) -> Candidate | None:
        """Return where a trial is best on the first goal within every SLO, else where it came closest."""
        names = dict.fromkeys([self._workload, *(point.workload for point in trial.points)])
        found = candidates([trial], list(names), self._goals)
        return next(iter(best_of_each(found, self._goals[0])), None)

    @property
    def _workload(self) -> str:
        """The first goal's, whole where the goal is about one class of its mix."""
        return self._goals[0].workload.partition(".")[0]


def _meets(point: Point) -> bool:
    return all(over <= 0 for over in point.violations.values())


def _is_of(goal: Goal, point: Point) -> bool:
    return point.workload == goal.workload and goal.key in point.metrics
