"""What a run knows at a moment: its trials, their ranking, and what came of the confirmation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress

import numpy as np
from numpy.typing import NDArray

from tuner import confirm, rank
from tuner.budget import Prices
from tuner.confirm import Contender
from tuner.misses import is_missed_at, missed_loads, over
from tuner.objective import Goal, least
from tuner.once import Each, Latest, Once
from tuner.preference import FIRST, Preference, best_values, regrets
from tuner.probes import WORTH
from tuner.rank import Candidate
from tuner.results import (
    Best,
    Closest,
    Confirmation,
    Estimate,
    Load,
    Point,
    Ratio,
    Side,
    Trial,
)
from tuner.space import Space
from tuner.study.load import Study
from tuner.verdicts import has_room, slo_verdicts
from tuner.workload import Workload, groups, parts_of


@dataclass
class Findings:
    """What a run has found so far; grows as the run goes.

    Attributes:
        study: the study.
        space: what is searched.
        workloads: in the study's order.
        goals: the objectives.
        trials: the baseline (number 0) and every trial told.
        shortlist: the candidates measured again, if that was done.
        confirmation: the last one made.
        unmade: why none could be made, "" where one was or none was tried.
        missed: trial -> how it missed an SLO when it was measured again.
        own_missed: the same of the user's configuration: the loads of what was measured at once, and how it missed one.
        best: what to deploy.
        closest: if nothing met the SLO.
        message: what a person should know beside it.
        preference: how the objectives make one rank.
    """

    study: Study
    space: Space
    workloads: Sequence[Workload]
    goals: Sequence[Goal]
    trials: list[Trial] = field(default_factory=list)
    shortlist: list[Side] = field(default_factory=list)
    confirmation: Confirmation | None = None
    unmade: str = ""
    missed: dict[int, Side] = field(default_factory=dict)
    own_missed: list[tuple[dict[str, Load], Side]] = field(default_factory=list)
    best: Best | None = None
    closest: Closest | None = None
    message: str | None = None
    preference: Preference = FIRST

    def __post_init__(self) -> None:
        self._of_trial: Once[Trial, list[Candidate]] = Once(
            lambda trial: rank.candidates([trial], self.names, self.goals)
        )
        self._of_each: Each[Trial, list[Candidate]] = Each(self._of_trial)
        self._is_own: Each[Trial, bool] = Each(lambda trial: trial.number == 0)
        self._of_all: Latest[list[Candidate], list[Candidate]] = Latest(lambda of: list(chain.from_iterable(of)))
        self._by_value: Latest[Candidate, list[Candidate]] = Latest(lambda found: rank.by_value(found, self.goals[0]))

    @property
    def names(self) -> list[str]:
        """Names of the workloads and the classes of mixes, the primary one first."""
        return [part.name for _, part in parts_of(self.workloads)]

    @property
    def bounds(self) -> dict[str, dict[str, float]]:
        """Name -> SLO -> bound."""
        return self.study.spec.bounds()

    def by_number(self) -> dict[int, Trial]:
        """Return the trials by number."""
        return {trial.number: trial for trial in self.trials}

    def prices(self, beside_s: float, at_once_s: float | None = None) -> Prices:
        """Return what the steps of the run cost, by the longest time that a configuration took to load.

        Args:
            beside_s: what a round takes beside its own length.
            at_once_s: what each of several takes that are loaded at once, None where it is not known.
        """
        return Prices(max((trial.apply_s for trial in self.trials), default=0.0), beside_s, at_once_s)

    def _own(self) -> list[Candidate]:
        """Return the points of the user's configuration that meet every SLO, best first."""
        own = compress(self.trials, self._is_own(self.trials))
        return self._ranked([one for trial in own for one in self._of_trial(trial)])

    def candidates(self) -> list[Candidate]:
        """Return every valid point of the primary workload with what goes with it."""
        return list(self._of_all(self._of_each(self.trials)))

    def best_of(self, trial: Trial) -> Candidate | None:
        """Return the best point of a trial that meets every SLO, else the one that came closest; None: it has none."""
        return next(iter(rank.best_of_each(self._of_trial(trial), self.goals[0])), None)

    def ranked(self) -> list[Candidate]:
        """Return the points that meet every SLO, the baseline's included, best first."""
        return self._by_preference(self._by_value(self.candidates()))

    def not_missed(self) -> list[Candidate]:
        """Return those of them that did not miss an SLO when they were measured again."""
        return [one for one in self.ranked() if self.keeps(one.trial.number, one.loads)]

    def keeps(self, trial: int, loads: Mapping[str, Load]) -> bool:
        """Whether a trial missed no SLO when it was measured again; the user's configuration: none at these loads."""
        if trial > 0:
            return trial not in self.missed
        return not is_missed_at(loads, [missed for missed, _ in self.own_missed])

    def drop_own(self, loads: Mapping[str, Load], side: Side) -> None:
        """Take it that the user's configuration misses an SLO where it did when it was measured again at some loads."""
        together = [[part.name for one in group for part in one.parts] for group in groups(self.workloads)]
        self.own_missed += [(missed, side) for missed in missed_loads(side, loads, together, self.bounds)]

    def over(self, side: Side) -> dict[str, dict[str, float]]:
        """Return workload, or class, -> SLO -> the share of its bound by which a value is over it, where one is."""
        return over(side, self.bounds)

    def _ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        return self._by_preference(rank.by_value(candidates, self.goals[0]))

    def _by_preference(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Return those that meet every SLO, best first on the first objective, in the order of the study's rank."""
        if self.preference.how == "first" or not found:
            return list(found)
        scores = self.scores([one.objective.values for one in found])
        return [found[index] for index in np.argsort(-scores, kind="stable")]

    def leader(self) -> Trial | None:
        """Return the best trial that meets every SLO, the baseline included, None while there is none."""
        return next((one.trial for one in self.ranked()), None)

    def scores(self, values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """Return a number for each row of objective values, larger for better ones, by the study's preference."""
        maximize = [goal.maximize for goal in self.goals]
        return self.preference.scores(np.array(values), self._bests(values), maximize)

    def _bests(self, otherwise: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """Return the best value of each objective within the SLO, those of rows where nothing was.

        What missed an SLO when it was measured again does not count.
        """
        fine = [one for one in self.candidates() if one.feasible and self.keeps(one.trial.number, one.loads)]
        values = [one.objective.values for one in fine] or otherwise
        return best_values(np.array(values), [goal.maximize for goal in self.goals])

    def front(self) -> list[Point]:
        """Return the primary workload's points of the front among those that meet every SLO."""
        return [one.trial.points[one.point] for one in rank.feasible_front(self.candidates(), self.goals)]

    def challengers(self, count: int) -> list[Candidate]:
        """Return the best trials that meet every SLO, without the baseline.

        Those that are better than it with room to their bounds come first.
        """
        bounds, best_of = self.bounds, dict[int, Candidate]()
        for one in self.ranked():
            best_of.setdefault(one.trial.number, one)
        ranked = list(best_of.values())
        place = next((index for index, one in enumerate(ranked) if one.trial.number == 0), len(ranked))
        better = [
            one
            for one in ranked[:place]
            if all(has_room(point.metrics, bounds[point.workload]) for point in one.points)
        ]
        others = [one for one in ranked if one.trial.number > 0 and one not in better]
        return [*better, *others][:count]

    def spoiled(self) -> list[Trial]:
        """Return the trials that the load generator spoiled if they are the most; where they are few they do not count.

        A run in which the generator could hardly measure says nothing of whether the server can meet the SLO.
        """
        invalid = [trial for trial in self.trials if trial.state == "invalid"]
        return invalid if 2 * len(invalid) > len(self.trials) else []

    def nothing_met(self) -> str:
        """Return what to say when no configuration met the SLO: was it the server, or the generator?"""
        spoiled = self.spoiled()
        if not spoiled:
            return "no configuration met the SLO"
        return (
            f"not decided: nothing valid met the SLO, and {len(spoiled)} of {len(self.trials)} trials are invalid; "
            f"the last one: {spoiled[-1].reason}"
        )

    def baseline(self) -> Candidate | None:
        """Return the user's configuration at its best load level, None when it meets the SLO at none.

        A level at which it missed an SLO when it was measured again is none.
        """
        return next((one for one in self._own() if self.keeps(0, one.loads)), None)

    def baseline_contenders(self, count: int) -> list[Contender]:
        """Return the user's configuration at its best levels, best first, or where it comes closest to the SLO."""
        by_values: dict[tuple[float, ...], Candidate] = {}
        for one in self._own():  # a load that changes no objective is not another level
            by_values.setdefault(one.objective.values, one)
        own = list(by_values.values())[:count]
        if not own:
            own = rank.nearest([one for one in self.candidates() if one.trial.number == 0])[:1]
        return [confirm.contender_of(one) for one in own] or [confirm.contender(self.by_number()[0], 0, self.workloads)]

    def probe_start(self) -> Candidate | None:
        """Return the baseline at the lowest load level that is about as good as its best: one with room to its SLO."""
        goal, own = self.goals[0], self._own()
        if not own:
            return None
        best = own[0].objective.values[0]
        worst = best * (1 - WORTH) if goal.maximize else best * (1 + WORTH)
        near = [one for one in own if (one.objective.values[0] >= worst) == goal.maximize]
        return min(near or own, key=lambda one: one.trial.points[one.point].load.level)

    def score(self, metrics: Mapping[str, Mapping[str, Estimate]]) -> float:
        """Return a number that is larger for the better of two; an objective that was not measured is at its worst.

        Args:
            metrics: workload, or class, -> metric key -> estimate.
        """

        def value(goal: Goal) -> float:
            found = metrics[goal.workload].get(goal.key)
            return found.value if found is not None else least(goal) if goal.maximize else math.inf

        return float(self.scores([[value(goal) for goal in self.goals]])[0])

    def regrets(self, trial: int, loads: Mapping[str, Load]) -> dict[str, float]:
        """Return objective -> the share by which a trial under some loads falls short of the best that met the SLO."""
        feasible = [one for one in self.candidates() if one.feasible]
        mine = [one.objective.values for one in feasible if (one.trial.number, one.loads) == (trial, loads)][:1]
        if self.preference.how == "first" or not mine:
            return {}
        lost = regrets(np.array(mine), self._bests(mine), [goal.maximize for goal in self.goals])[0]
        return {str(goal): float(share) for goal, share in zip(self.goals, lost, strict=True)}

    def unconfirmed(self, candidate: Candidate) -> Best:
        """Return a measured but unconfirmed point as the best."""
        trial = candidate.trial
        metrics = {one.workload: one.metrics for one in candidate.points}
        bounds = self.bounds
        return Best(
            trial=trial.number,
            point=candidate.point,
            config=trial.config,
            load=trial.points[candidate.point].load,
            loads={one.name: candidate.loads[one.name] for one in self.workloads[1:]},
            confirmed=False,
            metrics=metrics,
            verdicts={name: slo_verdicts(found, bounds[name]) for name, found in metrics.items()},
            objective=self.goals[0].key,
            gain_vs_baseline=None,
            regrets=self.regrets(trial.number, candidate.loads),
        )

    def confirmed(self, candidate: Contender, made: Confirmation) -> Best:
        """Return a candidate as the best, with what its confirmation measured."""
        index = self._point_at(candidate.trial, made.candidate.load)
        return Best(
            trial=candidate.trial,
            point=index,
            config=dict(candidate.config),
            load=made.candidate.load,
            loads=made.candidate.loads,
            confirmed=made.verdict == "met",
            metrics=made.candidate.metrics,
            verdicts=made.candidate.verdicts,
            objective=self.goals[0].key,
            gain_vs_baseline=self.gain(made) if self._own() else None,
            regrets=self.regrets(candidate.trial, candidate.loads),
        )

    def closest_measured(self) -> Closest | None:
        """Return the point that came closest, by what was measured last of each trial; None when nothing was measured.

        What met the SLO in the search counts as it missed it when it was measured again.
        """
        found = [rank.closest([one for one in self.candidates() if not one.feasible])]
        for side in [*self.missed.values(), *(own for _, own in self.own_missed)]:
            missed = {f"{name}.{slo}": share for name, by in self.over(side).items() for slo, share in by.items()}
            place = self._point_at(side.trial, side.load)
            found.append(Closest(trial=side.trial, point=place, missed=missed) if missed else None)
        return min(filter(None, found), key=lambda one: max(one.missed.values()), default=None)

    def _point_at(self, trial: int, load: Load) -> int:
        """Return the index of the primary workload's point of a trial at a load."""
        return next(
            number
            for number, point in enumerate(self.by_number()[trial].points)
            if point.workload == self.names[0] and point.load == load
        )

    def gain(self, made: Confirmation) -> Ratio | None:
        """Return the ratio to the baseline on the first objective, None where that is not among those compared."""
        return made.gains.get(self.goals[0].key)

    def improves(self, made: Confirmation) -> bool:
        """Whether the confirmed ratio is an improvement with its whole interval."""
        return (gain := self.gain(made)) is not None and gain.verdict == "better"
