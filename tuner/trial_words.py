"""A trial in a line: its configuration, what came of it, and what it gains over the user's own. Pure."""

import math
from collections.abc import Mapping, Sequence

from tuner.catalog import METRICS
from tuner.companions import companions
from tuner.objective import Goal
from tuner.rank import Candidate, best_of_each, candidates
from tuner.results import Point, Trial, Value
from tuner.space import Space
from tuner.units import format_rate, format_value


class TrialWords:
    """Words for the trials of a study.

    Args:
        space: of the study.
        goals: of the study; a trial's line has their values.
    """

    def __init__(self, space: Space, goals: Sequence[Goal]) -> None:
        self._goals = goals
        self._units = {parameter.name: parameter.knob.unit for parameter in space}

    def name(self, number: int) -> str:
        """Return `yours` for the baseline, else `trial N`."""
        return "yours" if number == 0 else f"trial {number}"

    def config(self, config: Mapping[str, Value]) -> str:
        """Return what is searched of a configuration, as `KNOB=VALUE ...`."""
        known = {name: unit for name, unit in self._units.items() if name in config}
        return " ".join(f"{name}={format_value(config[name], unit)}" for name, unit in known.items())

    def outcome(self, trial: Trial) -> str:
        """Return the values of the goals at the trial's best point and what it misses; its reason if it has none."""
        if trial.state != "complete":
            return f"{trial.state}: {trial.reason}"
        top = self.top(trial)
        missed = self.missed(trial)
        verdict = f"misses {', '.join(missed)}" if missed and trial.number else ""
        if sum(point.workload == top.workload for point in trial.points) > 1 and trial.number:
            verdict = f"at {top.load.level:g} {verdict}".rstrip()
        found = [_value(goal, point) for goal, point in self._of_goals(trial)]
        return f"{' '.join(found)} {verdict}".rstrip()

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


def _value(goal: Goal, point: Point) -> str:
    """Return `11,776/s` or `2.41/s` for a throughput, else the metric's name and value."""
    value, unit = point.metrics[goal.key].value, METRICS[goal.metric].unit if goal.metric in METRICS else ""
    shown = format_rate(value) if unit == "/s" else format_value(value, unit) if unit == "s" else f"{value:,.4g}"
    return shown if goal.metric == "throughput" else f"{goal.metric} {shown}"
